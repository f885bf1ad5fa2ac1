"""The one table of keys: bindings, footer, help and command palette are all made from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from textual.binding import Binding, BindingType

from waltzrl_tui.tui.shell.screens import SCREENS


@dataclass(frozen=True, slots=True)
class Key:
    """A key and its action.

    Attributes:
        key: Textual's name of the key; several, separated by commas, do the same.
        action: The action of the app (without "app.") or of the screen.
        label: Two words at most, for the footer.
        help: One sentence, for the help screen and the command palette.
        screen: Where it works: "app" or the name of a screen.
        show: Whether the footer shows it while it is enabled.
        cap: The key as written on screen; derived from `key` when empty.
    """

    key: str
    action: str
    label: str
    help: str
    screen: str = "app"
    show: bool = True
    cap: str = ""

    @property
    def name(self) -> str:
        """How the key is written on the screen: "?", "ctrl+p", "enter"."""
        return self.cap or _CAPS.get(self.first, self.first)

    @property
    def first(self) -> str:
        """Textual's name of the key that is shown."""
        return self.key.partition(",")[0]


_CAPS: Final = {
    "question_mark": "?",
    "slash": "/",
    "escape": "esc",
    "space": "space",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "plus": "+",
    "minus": "-",
    "comma": ",",
    "full_stop": ".",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}

KEYS_APP: Final = (
    *(
        Key(f"{number},alt+{number}", f"show({entry.name!r})", entry.title, entry.help, show=False)
        for number, entry in enumerate(SCREENS, 1)
    ),
    Key("question_mark,f1", "help", "help", "Show the keys of this screen."),
    Key("ctrl+p", "command_palette", "commands", "Search all commands by name.", show=False),
    Key("q,ctrl+q", "quit", "quit", "Quit; running jobs continue."),
)

KEYS_DATA: Final = (
    Key("t", "train", "train both", "Train both agents on this sample, here, for $0.", "data"),
    Key("t", "train_one", "train one", "Train the agent that needs no labels, here.", "data"),
    Key("enter", "detail", "read", "Read the whole row; press again to go back.", "data"),
    Key("escape", "back", "back", "Leave the field, the row or the filter.", "data"),
    Key("left", "step(-1)", "previous", "While reading: the previous row.", "data"),
    Key("right", "step(1)", "next", "While reading: the next row.", "data"),
    Key("s", "sample", "sample", "Go to the sampling form.", "data"),
    Key("slash", "filter", "filter", "Filter by text, or by an expression (where …).", "data"),
    Key("w", "where", "where", "Filter rows by an expression.", "data"),
    Key("d", "findings", "duplicates", "Show duplicates, leaks and personal data.", "data"),
    Key("b", "bad_rows", "bad rows", "Show only bad rows, or all rows.", "data"),
    Key("x", "export", "export bad", "Write the bad rows to a file.", "data"),
    Key("o", "sort", "sort", "Sort by a column: ascending, descending, file order.", "data"),
    Key("h", "histogram", "histogram", "Show the distribution of a column.", "data"),
    Key("m", "mapping", "mapping", "Show and correct which field is what.", "data"),
    Key("g,colon", "goto", "go to row", "Go to a row by its number.", "data"),
    Key("f", "files", "files", "Go to the list of files.", "data"),
    Key("p", "profile", "profile", "Open the full profile (or start or stop counting).", "data"),
    Key("r", "reload", "reload", "Look for new and changed files.", "data", show=False),
)

KEYS_PLAN: Final = (
    Key("enter", "train", "launch", "Launch this plan (asks first).", "plan"),
    Key("escape", "back", "back", "Leave the form, the breakdown or the comparison.", "plan"),
    Key("e", "edit", "edit run", "Edit agents, rows, epochs, model size and budget.", "plan"),
    Key("c", "compare", "compare", "Pin this plan and compare others with it.", "plan"),
    Key("c", "end_compare", "end compare", "Unpin the plan and stop comparing.", "plan"),
    Key("d", "detail", "breakdown", "Expand or collapse the cost breakdown.", "plan"),
    Key("r", "refresh_prices", "refresh prices", "Fetch today's prices (free).", "plan"),
    Key("x", "export", "export", "Write all plans to a Markdown or CSV file.", "plan"),
)

KEYS_JOBS: Final = (
    Key("y", "approve", "accept price", "Accept the provider's price.", "jobs"),
    Key("c", "cancel", "cancel", "Stop this job; its work is kept and it can resume.", "jobs"),
    Key("r", "resume", "resume", "Resume this job and the jobs it depends on.", "jobs"),
    Key("r", "retry", "retry", "Run it again as a new job.", "jobs"),
    Key("l", "log", "log", "Read the log of this job's worker.", "jobs"),
    Key("space", "overlay", "overlay", "Add this job to the chart, or remove it.", "jobs"),
    Key("g", "log_scale", "log scale", "Switch the loss axis: linear or logarithmic.", "jobs"),
    Key("s", "smooth", "smooth", "Smooth the training curves, or show every step.", "jobs"),
    Key("enter", "details", "details", "Show settings, sample, figures and errors.", "jobs"),
    Key("slash", "find", "find", "Filter jobs by text, past ones included.", "jobs"),
    Key("a", "adopt", "adopt", "Watch a job started elsewhere, by its id.", "jobs"),
    Key("u", "deployments", "deployments", "Start or stop hosted models that cost money.", "jobs"),
    Key("escape", "find_all", "all jobs", "Show all jobs again.", "jobs"),
)

KEYS_CHAT: Final = (
    Key("escape", "stop", "stop", "Stop; what has arrived stays.", "chat"),
    Key("enter", "send", "send", "Send the prompt.", "chat"),
    Key("ctrl+j,alt+enter", "new_line", "new line", "Insert a line break in the prompt.", "chat"),
    Key("escape", "leave", "commands", "Leave the prompt to scroll and use single keys.", "chat"),
    Key("enter,i", "write", "write", "Go to the prompt.", "chat"),
    Key("space", "next", "next prompt", "Ask the next prompt of the file.", "chat"),
    Key("tab", "other", "other side", "Go to the other column.", "chat"),
    Key("left", "vote('left')", "left wins", "The left reply is better.", "chat", show=False),
    Key("right", "vote('right')", "right wins", "The right reply is better.", "chat", show=False),
    Key("t", "vote('tie')", "tie", "Both replies are equally good.", "chat", show=False),
    Key("z", "vote('both bad')", "both bad", "Neither reply is good enough.", "chat", show=False),
    Key("r", "again", "ask again", "Ask the last prompt again from scratch.", "chat"),
    Key("p", "pair", "pair", "Choose the pair that answers.", "chat"),
    Key("s", "beside", "side by side", "Compare two pairs, or go back to one.", "chat"),
    Key("f", "feedback", "feedback", "Switch feedback: applied, only shown, or off.", "chat"),
    Key("d", "draft", "draft", "Show drafts with changed words marked, or hide them.", "chat"),
    Key("v", "verdicts", "verdicts", "Show verdicts in full, or on one line.", "chat"),
    Key("b", "blind", "blind", "Hide who answers until the vote, and shuffle sides.", "chat"),
    Key("u", "queue", "prompts", "Ask the prompts of a file one by one.", "chat"),
    Key("w", "results", "who wins", "Win rates and flags of pairs, with tests.", "chat"),
    Key("n", "new", "new chat", "Start a new chat; this one is saved.", "chat"),
    Key("o,slash", "open", "find chat", "Search earlier chats, and continue one.", "chat"),
    Key("c", "branch", "branch", "Continue from this turn in a new chat.", "chat"),
    Key("e", "edit", "edit", "Correct a turn or its verdict; make it a training row.", "chat"),
    Key("x", "export", "export", "Write the chat as Markdown, JSONL or SVG.", "chat"),
    Key("y", "copy", "copy reply", "Copy the chosen reply to the clipboard.", "chat"),
    Key("a", "about", "details", "Model, stop reason, timing and settings of this reply.", "chat"),
    Key("g", "watch", "watch drafts", "Judge drafts while they grow; stop unsafe ones.", "chat"),
    Key("k", "step(-1)", "turn before", "Go to the previous turn.", "chat", show=False),
    Key("j", "step(1)", "turn after", "Go to the next turn.", "chat", show=False),
)

KEYS_EVALUATE: Final = (
    Key("enter", "run", "evaluate", "Run the evaluation (asks first if it costs).", "evaluate"),
    Key("space", "choose", "choose", "Tick or untick the line under the cursor.", "evaluate"),
    Key("b", "baselines", "baselines", "Add the paper's baselines to this pair.", "evaluate"),
    Key("i", "items", "items", "Read prompts, replies, verdicts and opinions.", "evaluate"),
    Key("d", "disputes", "disputes", "Decide where the judges differ.", "evaluate"),
    Key("v", "look", "next view", "Switch to the next suite or judge.", "evaluate"),
    Key("c", "categories", "categories", "Show or hide rates by category.", "evaluate"),
    Key("x", "export", "export", "Write the HTML report, or all items as CSV.", "evaluate"),
    Key("s", "stop", "stop", "Stop this run; finished items are kept.", "evaluate"),
    Key("g", "go_on", "resume", "Resume an unfinished run.", "evaluate"),
    Key("n", "prompts", "prompts", "Set the number of prompts per suite.", "evaluate"),
    Key("a", "add", "add suite", "Add a file with labelled prompts.", "evaluate"),
    Key("o", "open", "open run", "Open another run.", "evaluate"),
    Key("e", "edit", "new run", "Choose suites, pairs and judges of a new run.", "evaluate"),
    Key("escape", "results", "results", "Go to the results.", "evaluate"),
)

KEYS: Final[tuple[Key, ...]] = (
    *KEYS_DATA,
    *KEYS_PLAN,
    *KEYS_JOBS,
    *KEYS_CHAT,
    *KEYS_EVALUATE,
    *KEYS_APP,
)


def section(screen: str) -> tuple[Key, ...]:
    """The keys of one screen, or of the app."""
    return tuple(key for key in KEYS if key.screen == screen)


def bindings(screen: str) -> list[BindingType]:
    """The bindings of one screen, or of the app, for its `BINDINGS`."""
    return [
        Binding(key.key, key.action, key.label, show=key.show, tooltip=key.help)
        for key in section(screen)
    ]


def press(action: str, screen: str) -> str:
    """The name of the key for `action`, for use in a sentence.

    Raises:
        KeyError: No key does that on that screen or in the app.
    """
    for key in KEYS:
        if key.action == action and key.screen in (screen, "app"):
            return key.name
    raise KeyError(action)


def shown(screen: str) -> Iterator[Key]:
    """The keys of the footer of a screen, in its order: its own first, then the app's."""
    yield from (key for key in section(screen) if key.show)
    yield from (key for key in section("app") if key.show)


EMPTY: Final[dict[str, str]] = {
    "data.files": (
        "No dataset yet.\nCopy a .jsonl file into\nthe folder above and\n"
        f"press {press('reload', 'data')}."
    ),
    "data.rows": "No file is open.",
    "chat.chats": (
        f"No chat yet. Close this list, type a prompt and press {press('send', 'chat')}."
    ),
    "data.filtered": f"No row contains that text. Press {press('back', 'data')} to see all rows.",
    "data.where": (
        f"No row matches. Press {press('where', 'data')} to change the expression,"
        f" {press('back', 'data')} to see all rows."
    ),
    "evaluate.results": (
        "No evaluation yet.\n\n"
        "Choose suites, pairs and judges on the left: tab moves between lists,\n"
        f"{press('choose', 'evaluate')} ticks, {press('run', 'evaluate')} evaluates. The bundled "
        "prompts, the pairs and the refusal\ndetector are ticked already. "
        "A run that may cost money asks first.\n\n"
        f"{press('baselines', 'evaluate')} on a trained pair adds the paper's baselines."
    ),
    "jobs.table": (
        "No jobs yet.\n"
        f"Press {KEYS_APP[0].name}, then {press('train', 'data')} to train both agents."
    ),
}
"""What a pane shows when it has no content; every text says what to press."""

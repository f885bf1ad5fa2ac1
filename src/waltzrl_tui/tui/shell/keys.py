"""The one table of keys: bindings, footer, help and command palette are all made from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from textual.binding import Binding, BindingType

from waltzrl_tui.tui.shell.screens import SCREENS


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that a key does.

    Attributes:
        key: Textual's name of the key; several, with commas between them, do the same.
        action: The action of the app ("app.…" is not written) or of the screen.
        label: Two words at most, for the footer.
        help: One sentence, for the help screen and the command palette.
        screen: Where it works: "app" or the name of a screen.
        show: Whether the footer shows it while it works.
        cap: How the key is written where it is shown; made from `key` when empty.
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
    Key("question_mark,f1", "help", "help", "Show all keys that work here."),
    Key("ctrl+p", "command_palette", "commands", "Search all commands by name.", show=False),
    Key("q,ctrl+q", "quit", "quit", "Leave the app; jobs go on without it."),
)

KEYS_DATA: Final = (
    Key("t", "train", "train both", "Train both agents on this sample, here, for $0.00.", "data"),
    Key("t", "train_one", "train one", "Train the agent that needs no labels, here.", "data"),
    Key("enter", "detail", "read", "Read the whole row; once more to go back.", "data"),
    Key("escape", "back", "back", "Leave the field, the row or the filter.", "data"),
    Key("left", "step(-1)", "previous", "While reading: the row before.", "data"),
    Key("right", "step(1)", "next", "While reading: the next row.", "data"),
    Key("s", "sample", "sample", "Go to the form that draws the sample.", "data"),
    Key("slash", "filter", "filter", "Show only rows with some words; or type where ….", "data"),
    Key("w", "where", "where", "Show only rows where an expression is true.", "data"),
    Key("d", "findings", "duplicates", "Open duplicates and other rows not to pay for.", "data"),
    Key("b", "bad_rows", "bad rows", "Show only the rows that cannot be used, or all.", "data"),
    Key("x", "export", "export bad", "Write the bad rows into a file.", "data"),
    Key("o", "sort", "sort", "Sort the rows by a column, up, down or not.", "data"),
    Key("h", "histogram", "histogram", "Show how the rows are spread over a column.", "data"),
    Key("m", "mapping", "mapping", "See and correct which field is what.", "data"),
    Key("g,colon", "goto", "go to row", "Jump to a row by its number.", "data"),
    Key("f", "files", "files", "Go to the list of files.", "data"),
    Key("p", "profile", "profile", "Show the whole profile; count it first, or stop it.", "data"),
    Key("r", "reload", "reload", "Look for new and changed files.", "data", show=False),
)

KEYS_PLAN: Final = (
    Key("enter", "train", "launch", "Train there what the form asks for; it asks first.", "plan"),
    Key("escape", "back", "back", "Leave the field, the sum or the comparison.", "plan"),
    Key("e", "edit", "edit run", "Go to the form: agents, rows, epochs, size, budget.", "plan"),
    Key("c", "compare", "compare", "Keep this plan, to see others and changes beside it.", "plan"),
    Key("c", "end_compare", "end compare", "Stop comparing with the plan that was kept.", "plan"),
    Key("d", "detail", "whole sum", "Show the sum on all the room, or no longer.", "plan"),
    Key("r", "refresh_prices", "refresh prices", "Ask for today's prices, for free.", "plan"),
    Key("x", "export", "export", "Write all plans into a Markdown or CSV file.", "plan"),
)

KEYS_JOBS: Final = (
    Key("y", "approve", "agree to price", "Say yes to what the provider asks.", "jobs"),
    Key("c", "cancel", "cancel", "Stop this job; what it has is kept, and it can go on.", "jobs"),
    Key("r", "resume", "resume", "Go on with this job, and with those that it needs.", "jobs"),
    Key("r", "retry", "retry", "Do once more, as a new job, what this one did.", "jobs"),
    Key("l", "log", "log", "Read what the worker of this job has printed.", "jobs"),
    Key("space", "overlay", "overlay", "Keep this job in the chart, or take it out.", "jobs"),
    Key("g", "log_scale", "log scale", "Change the losses' axis: linear, logarithmic.", "jobs"),
    Key("s", "smooth", "smooth", "Smooth the training curves, or show each step.", "jobs"),
    Key("enter", "details", "details", "Show settings, sample, figures and errors.", "jobs"),
    Key("slash", "find", "find", "Show only jobs with these words, past ones too.", "jobs"),
    Key("a", "adopt", "adopt", "Watch a job that was started elsewhere, by its id.", "jobs"),
    Key("u", "deployments", "up for chat", "Models that are up and billed; up, down.", "jobs"),
    Key("escape", "find_all", "all jobs", "Show all jobs again.", "jobs"),
)

KEYS_CHAT: Final = (
    Key("escape", "stop", "stop", "Stop the replies; what has come of them stays.", "chat"),
    Key("enter", "send", "send", "Send the prompt.", "chat"),
    Key("ctrl+j,alt+enter", "new_line", "new line", "Break the line of the prompt.", "chat"),
    Key("escape", "leave", "more keys", "Leave the prompt, to scroll and for the keys.", "chat"),
    Key("enter,i", "write", "write", "Go to the prompt.", "chat"),
    Key("space", "next", "next prompt", "Ask the next prompt of the file.", "chat"),
    Key("tab", "other", "other side", "Go to the other of two columns.", "chat"),
    Key("left", "vote('left')", "left wins", "The left reply is better.", "chat", show=False),
    Key("right", "vote('right')", "right wins", "The right reply is better.", "chat", show=False),
    Key("t", "vote('tie')", "tie", "Both replies are equally good.", "chat", show=False),
    Key("z", "vote('both bad')", "both bad", "Neither reply will do.", "chat", show=False),
    Key("r", "again", "ask again", "Ask the last prompt again, as if for the first time.", "chat"),
    Key("p", "pair", "pair", "Choose the pair that answers.", "chat"),
    Key("s", "beside", "side by side", "Have two pairs answer, or one again.", "chat"),
    Key("f", "feedback", "feedback", "Feedback applied, only shown, or off.", "chat"),
    Key("d", "draft", "draft", "Show drafts, with the words that changed, or hide them.", "chat"),
    Key("v", "verdicts", "verdicts", "Show verdicts whole, or in a line.", "chat"),
    Key("b", "blind", "blind", "Hide who answers until the vote, and shuffle sides.", "chat"),
    Key("u", "queue", "prompts", "Ask the prompts of a file, one after the other.", "chat"),
    Key("w", "results", "who wins", "Votes and flags of pairs that met, with tests.", "chat"),
    Key("n", "new", "new chat", "Begin a new chat; this one is kept.", "chat"),
    Key("o,slash", "open", "find chat", "Find an earlier chat by its words, and go on.", "chat"),
    Key("c", "branch", "branch", "Go on from the chosen turn in a chat of its own.", "chat"),
    Key("e", "edit", "edit", "Correct a turn or its verdict; make it a training row.", "chat"),
    Key("x", "export", "export", "Write the chat as Markdown, JSONL or SVG.", "chat"),
    Key("y", "copy", "copy reply", "Copy the chosen reply to the clipboard.", "chat"),
    Key("a", "about", "details", "Which model really answered, why it ended, and more.", "chat"),
    Key("g", "watch", "watch drafts", "Judge drafts while they grow; stop unsafe ones.", "chat"),
    Key("k", "step(-1)", "turn before", "Choose the turn before.", "chat", show=False),
    Key("j", "step(1)", "turn after", "Choose the turn after.", "chat", show=False),
)

KEYS_EVALUATE: Final = (
    Key("enter", "run", "evaluate", "Run what is chosen; asks first where it costs.", "evaluate"),
    Key("space", "choose", "choose", "Choose what the cursor is on, or no longer.", "evaluate"),
    Key("b", "baselines", "baselines", "Beside this pair, the paper's baselines.", "evaluate"),
    Key("i", "items", "items", "Read prompts, replies, verdicts and opinions.", "evaluate"),
    Key("d", "disputes", "disputes", "Settle by hand where the judges differ.", "evaluate"),
    Key("v", "look", "other view", "The next suite, then the next judge.", "evaluate"),
    Key("c", "categories", "categories", "The rates of each category, or not.", "evaluate"),
    Key("x", "export", "export", "Write the HTML report, or all items as CSV.", "evaluate"),
    Key("s", "stop", "stop", "Stop this run; what is finished is kept.", "evaluate"),
    Key("g", "go_on", "go on", "Go on with a run that was not finished.", "evaluate"),
    Key("n", "prompts", "how many", "How many prompts of each suite are taken.", "evaluate"),
    Key("a", "add", "add suite", "Add a file with labelled prompts.", "evaluate"),
    Key("o", "open", "open run", "Look at another run.", "evaluate"),
    Key("e", "edit", "new run", "Go to the lists to choose from.", "evaluate"),
    Key("escape", "results", "results", "Go to the results.", "evaluate"),
)

KEYS: Final[tuple[Key, ...]] = (
    *(*KEYS_DATA, *KEYS_PLAN, *KEYS_JOBS, *KEYS_CHAT),
    *(*KEYS_EVALUATE, *KEYS_APP),
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
    """The name of the key for `action`, to be written in a sentence.

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
        f"For no row is this true. Press {press('where', 'data')} to change it,"
        f" {press('back', 'data')} to see all rows."
    ),
    "evaluate.results": (
        "Nothing was evaluated yet.\n\n"
        "Suites, pairs and judges are chosen on the left: tab goes from list to list,\n"
        f"{press('choose', 'evaluate')} chooses, {press('run', 'evaluate')} evaluates. The bundled "
        "prompts, the pairs and the refusal\ndetector are chosen already, and cost nothing.\n\n"
        f"{press('baselines', 'evaluate')} on a trained pair sets the paper's baselines beside it."
    ),
    "jobs.table": (
        "No jobs yet.\n"
        f"Press {KEYS_APP[0].name}, then {press('train', 'data')} to train both agents."
    ),
}
"""What stands in a pane that has nothing to show; every text says what to press."""

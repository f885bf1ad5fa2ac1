"""The form of a plan: what is trained, how, on what money. Every change is reported at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Label, Static

from waltzrl_tui.errors import UsageError
from waltzrl_tui.plans.model import PlanSettings, Size
from waltzrl_tui.records.roles import ROLES, Method, Role
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.fields import Choice, NumberField
from waltzrl_tui.tui.plan.lines import SIZES
from waltzrl_tui.tui.shell.bars import click
from waltzrl_tui.tui.shell.keys import press

_EPOCHS: Final = 3.0
_DATA_KEY: Final = press("show('data')", "data")
_ANY_MODEL: Final = "by size"
_METHODS: Final[dict[str, Method]] = {"SFT": "sft", "DPO": "dpo"}
_AGENTS: Final[dict[str, tuple[Role, ...]]] = {
    "both": ROLES,
    **{role: (role,) for role in ROLES},
}
_SIZES: Final[dict[str, Size]] = {words: size for size, words in SIZES.items()}


class PlanForm(Vertical):
    """Dataset, agents, rows, epochs, size, model, method, hours of chat and budget."""

    BORDER_TITLE = "Run"

    class Changed(Message):
        """Something else is asked for."""

    def __init__(self) -> None:
        super().__init__(id="plan-form", classes="pane")
        self._dataset = Static(id="plan-dataset")
        self._dataset.auto_links = False
        self._agents = Choice("agents", tuple(_AGENTS), id="plan-agents")
        self._one_only = False
        self._rows = NumberField(
            "", id="plan-rows", digits=8, placeholder="all", step=50, minimum=1, whole=True
        )
        self._epochs = NumberField(
            "3", id="plan-epochs", digits=5, placeholder=f"{_EPOCHS:g}", minimum=1
        )
        self._model_size = Choice("size", tuple(_SIZES), id="plan-size")
        self._model_size.set_reactive(Choice.value, SIZES["default"])
        self._model = Choice("model", (_ANY_MODEL,), id="plan-model")
        self._models: Mapping[Size, Sequence[str]] = {}
        self._method = Choice("method", tuple(_METHODS), id="plan-method")
        self._hours = NumberField("1", id="plan-hours", digits=5, placeholder="0")
        self._budget = NumberField("", id="plan-budget", digits=7, placeholder="none", step=5)
        self._status = Static(id="plan-status")

    def compose(self) -> ComposeResult:
        yield self._dataset
        yield self._agents
        yield from self._line("rows", self._rows)
        yield from self._line("epochs", self._epochs)
        yield self._model_size
        yield self._model
        yield self._method
        yield from self._line("chat h", self._hours)
        yield from self._line("budget $", self._budget)
        yield self._status

    def _line(self, name: str, field: NumberField) -> ComposeResult:
        with Horizontal(classes="fields"):
            yield Label(name)
            yield field

    @property
    def first(self) -> NumberField:
        """The field to go to when the form is asked for."""
        return self._rows

    @property
    def rows(self) -> int | None:
        """How many rows the sample is to have; None takes all.

        Raises:
            UsageError: It is to have none.
        """
        number = self._rows.number
        if number is None:
            return None
        if number < 1:
            raise UsageError("rows: 1 or more", hint="Raise rows.")
        return int(number)

    @property
    def settings(self) -> PlanSettings:
        """What the other fields ask for.

        Raises:
            UsageError: No epoch is to be trained.
        """
        epochs = self._epochs.number
        if epochs is not None and epochs <= 0:
            raise UsageError("epochs: above 0", hint="Raise epochs.")
        return PlanSettings(
            epochs=_EPOCHS if epochs is None else epochs,
            size=_SIZES[self._model_size.value],
            chat_hours=self._hours.number or 0.0,
            method=_METHODS[self._method.value],
            model="" if self._model.value == _ANY_MODEL else self._model.value,
            budget_usd=self._budget.number,
            roles=_AGENTS[self._agents.value],
        )

    def offer_models(self, models: Mapping[Size, Sequence[str]]) -> None:
        """Offer these base models, beside what each provider has of the size."""
        self._models = models
        self._model.set_words((_ANY_MODEL, *models.get(_SIZES[self._model_size.value], ())))

    def offer_agents(self, roles: Collection[Role]) -> None:
        """Offer the agents that the dataset can train; of only one there is no choice."""
        was_one, self._one_only = self._one_only, len(roles) == 1
        self._agents.set_words(tuple(roles) if self._one_only else tuple(_AGENTS))
        if was_one and not self._one_only:
            self._agents.value = "both"

    def name_dataset(self, name: str) -> None:
        """Show which dataset is planned for."""
        label = Content.styled(one_line(name, 60), "bold")
        self._dataset.tooltip = f"{_DATA_KEY} Data chooses another."
        self._dataset.update(label.stylize(click("app.show('data')")), layout=False)

    def set_rows(self, rows: int | None) -> None:
        """Ask for so many rows without reporting a change."""
        with self._rows.prevent(Input.Changed):
            self._rows.value = "" if rows is None else str(rows)

    def say(self, text: str | Content) -> None:
        """Show what comes of the form, or what is wrong with it, in one line."""
        self._status.update(text, layout=False)

    @on(Input.Changed)
    @on(Choice.Changed)
    def _changed(self, event: Input.Changed | Choice.Changed) -> None:
        event.stop()
        if isinstance(event, Choice.Changed) and event.choice is self._model_size:
            self.offer_models(self._models)
        self.post_message(self.Changed())

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()

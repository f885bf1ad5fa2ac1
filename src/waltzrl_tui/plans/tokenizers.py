"""The tokenizers to count with: those of the models that a plan compares, if available."""

from __future__ import annotations

from waltzrl_tui.plans.model import PlanSettings
from waltzrl_tui.plans.price import ALIASES
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.tokenizers.counting import TokenCounter, find_tokenizer
from waltzrl_tui.workspace import Workspace

_EMBEDDED_TOKENIZER = "SmolLM2"


def counters_for(
    catalogue: Catalogue, workspace: Workspace, settings: PlanSettings
) -> list[TokenCounter]:
    """The tokenizers of the models that `settings` compares, as far as they are on this machine.

    Closed providers count only when they are chosen by name: some vocabularies take a second to
    load.
    """
    counters: dict[str, TokenCounter] = {}
    for model in _models(catalogue, settings):
        entry = catalogue.base.get(model)
        if entry is None or not entry.tokenizer or entry.tokenizer in counters:
            continue
        files = (
            [workspace.cache / "models" / model / "tokenizer.json"]
            if entry.tokenizer == _EMBEDDED_TOKENIZER
            else []
        )
        counter = find_tokenizer(entry.tokenizer, entry.hub, files)
        if counter is not None:
            counters[entry.tokenizer] = counter
    return list(counters.values())


def _models(catalogue: Catalogue, settings: PlanSettings) -> list[str]:
    wanted = ALIASES.get(settings.provider, settings.provider)
    models = [catalogue.base_name(settings.model)] if settings.model else []
    for name, provider in catalogue.provider.items():
        if name == wanted or (not wanted and provider.status == "open"):
            offer = provider.offer.get(settings.size)
            models += [offer.model] if offer else []
            models += [provider.model[settings.size]] if settings.size in provider.model else []
    return models

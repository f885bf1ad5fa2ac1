"""OpenAI: SFT and DPO. Closed to new organisations, and ending: its own words decide."""

from __future__ import annotations

from waltzrl_tui.providers.errors import ClosedError
from waltzrl_tui.providers.openai_shaped import OpenAIFineTuning
from waltzrl_tui.providers.protocol import Account, Capabilities


class OpenAI(OpenAIFineTuning):
    """OpenAI's own service."""

    name, title = "openai", "OpenAI"
    capabilities = Capabilities.of("openai")
    url = "https://api.openai.com/v1"
    url_variable = "OPENAI_BASE_URL"

    async def probe(self) -> Account:
        try:
            return await super().probe()
        except ClosedError as error:
            return Account(True, False, error.words)

    def account_of(self, has_tuned: bool) -> Account:
        words = (
            "the key works and this organisation has tuned before; if it has lapsed, a launch "
            "is refused before anything is billed"
            if has_tuned
            else "the key works; organisations that never tuned cannot since 7 May 2026"
        )
        return Account(True, has_tuned, words)

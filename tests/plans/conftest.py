from __future__ import annotations

import pytest

from waltzrl_tui.plans.catalogue import load_catalogue
from waltzrl_tui.plans.schema import Catalogue


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue(None)


@pytest.fixture(autouse=True)
def _no_keys(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    """Nothing of the user's accounts, tokenizers and addresses reaches a test."""
    for provider in catalogue.provider.values():
        for key in provider.keys:
            monkeypatch.delenv(key, raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN_PATH", "TIKTOKEN_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)

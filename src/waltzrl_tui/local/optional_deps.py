"""Whether the `[local]` extra is there. Its libraries are heavy: imported where they are used."""

from __future__ import annotations

from importlib.util import find_spec

from waltzrl_tui.errors import EngineError

TRAINING = ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy", "gguf")
SERVING = ("xllamacpp",)


def missing(modules: tuple[str, ...] = TRAINING + SERVING) -> list[str]:
    """The modules of the extra that are not installed (none is imported)."""
    return [name for name in modules if find_spec(name) is None]


def require(modules: tuple[str, ...] = TRAINING + SERVING) -> None:
    """Check for the extra.

    Raises:
        EngineError: Something of it is not installed.
    """
    if absent := missing(modules):
        raise EngineError(
            f"The embedded engine is not installed ({', '.join(absent)} missing).",
            hint="Add it with `make setup`, or `pip install 'waltzrl-tui[local]'`.",
        )

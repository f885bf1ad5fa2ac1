"""LoRA fine-tuning of one agent: a loop that reports every step and can stop at any."""

from __future__ import annotations

import math
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waltzrl_tui.errors import EngineError
from waltzrl_tui.local import checkpoints
from waltzrl_tui.local.encoding import Encoded, encode
from waltzrl_tui.local.recipe import TrainingSettings
from waltzrl_tui.local.refusal_margin import Caution, openings_of_refusals
from waltzrl_tui.local.schedule import Pace, learning_rate, pieces, plan
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.words import plural

_DECLINES = {"harmful/refuses": True, "benign/complies": False}
_VALIDATIONS = 5
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One optimizer step as measured: values by the names of `records.metrics`.

    `tokens` counts all tokens since the run began; `valid_loss` is present where measured.
    """

    step: int
    total_steps: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Note:
    """A message for the job's events."""

    text: str
    level: str = "info"


Report = Callable[[TrainingStep | Note], None]


class Trainer:
    """One run, in a folder of its own. All methods block; use it in a thread.

    Args:
        source: The base: a transformers folder or a hub id.
        folder: Where checkpoints and, at the end, `adapter/` go.
        train_rows: Rows to learn, in any order.
        valid_rows: Rows whose loss is watched.
        report: Called from the training thread.
        stop: When set, the run saves a checkpoint and returns.
    """

    def __init__(
        self,
        source: str,
        folder: Path,
        train_rows: Sequence[TrainingRow],
        valid_rows: Sequence[TrainingRow],
        settings: TrainingSettings,
        *,
        report: Report,
        stop: threading.Event,
        threads: int,
    ) -> None:
        self._source = source
        self._folder = folder
        self._train_rows = train_rows
        self._valid_rows = valid_rows[: settings.valid_rows]
        self._settings = settings
        self._report = report
        self._stop = stop
        self._threads = threads
        self._at_once = 1
        self._caution: Caution | None = None
        self._pool: ThreadPoolExecutor

    def run(self) -> Path | None:
        """Train to the end; the folder with the adapter, or None when it was stopped.

        Continues from the last checkpoint in the folder with the same batches, so the result
        is that of an uninterrupted run.

        Raises:
            EngineError: The rows are too long, the loss is not a number, or memory ran out.
        """
        import torch

        # Several pieces with one core each, not one piece on all cores: they synchronise once a
        # step, not at each of its thousand operations. A GPU is fastest with one big piece.
        self._at_once = 1 if torch.cuda.is_available() else min(self._threads, _AT_ONCE)
        torch.set_num_threads(max(1, self._threads // self._at_once))
        torch.manual_seed(self._settings.seed)
        try:
            with ThreadPoolExecutor(self._at_once, "training") as self._pool:
                return self._run()
        except torch.OutOfMemoryError as error:
            raise EngineError(
                "The GPU's memory is full.",
                hint="Lower micro_tokens, rank or max_tokens, or choose a smaller model.",
            ) from error
        except MemoryError as error:
            raise EngineError(
                "The machine's memory is full.", hint="Close other programs, then resume the job."
            ) from error

    def _run(self) -> Path | None:
        import torch

        from waltzrl_tui.local.model import LoraModel

        settings = self._settings
        saved = checkpoints.latest(self._folder)
        model = LoraModel(self._source, settings.shape, saved.folder if saved else None)
        rows = self._encoded(model.tokenizer, self._train_rows, "training")
        valid = self._encoded(model.tokenizer, self._valid_rows, "validation")
        self._caution = self._caution_of(rows)
        schedule = plan(rows, settings)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=settings.learning_rate, weight_decay=0.0
        )
        first, tokens = 0, 0
        if saved is not None:
            state = checkpoints.load_state(saved)
            optimizer.load_state_dict(state["optimizer"])
            first, tokens = saved.step, int(state["tokens"])
            self._report(Note(f"resumed from the checkpoint of step {first}"))
        trained = sum(parameter.numel() for parameter in model.parameters())
        self._report(
            Note(
                f"{len(rows)} rows, {sum(len(row.ids) for row in rows)} tokens an epoch, "
                f"LoRA r{settings.rank} on "
                f"{f'the last {settings.last_layers}' if settings.last_layers else 'all'} layers: "
                f"{trained / 1e6:.1f} M parameters on {model.device.type}"
            )
        )
        pace = Pace(rows, schedule, first, model.cached_cost)
        every = max(1, math.ceil(len(schedule) / _VALIDATIONS))
        saved_at = time.monotonic()
        for number in range(first, len(schedule)):
            began = time.perf_counter()
            batch = schedule[number]
            was_cached = model.cached(batch)
            rate = learning_rate(number, len(schedule), settings.learning_rate)
            for group in optimizer.param_groups:
                group["lr"] = rate
            measured = self._step(model, optimizer, rows, batch)
            if measured is None:
                self._save(model, optimizer, number, tokens)
                return None
            loss, batch_tokens = measured
            if not math.isfinite(loss):
                raise EngineError(
                    f"The loss is not a number at step {number + 1}.",
                    hint=f"Lower the learning rate (now {settings.learning_rate:g}) and start "
                    "a new job.",
                )
            tokens += batch_tokens
            done = number + 1
            pace.add(number, time.perf_counter() - began, was_cached)
            valid_loss = None
            if valid and (done % every == 0 or done == len(schedule)):
                valid_loss = self._valid_loss(model, valid)
            self._report(
                TrainingStep(
                    done,
                    len(schedule),
                    {
                        "loss": loss,
                        **({} if valid_loss is None else {"valid_loss": valid_loss}),
                        "epoch": done * settings.epochs / len(schedule),
                        "learning_rate": rate,
                        "tokens_per_second": pace.tokens_per_second,
                        "tokens": tokens,
                        "memory_bytes": _memory(model.device.type),
                        "eta_seconds": pace.eta_seconds(done),
                    },
                )
            )
            if time.monotonic() - saved_at >= settings.checkpoint_seconds:
                self._save(model, optimizer, done, tokens)
                saved_at = time.monotonic()
        return self._finish(model)

    def _step(
        self, model: Any, optimizer: Any, rows: Sequence[Encoded], batch: Sequence[int]
    ) -> tuple[float, int] | None:
        """One optimizer step: (loss, tokens), or None when stopped before it was complete."""
        import torch

        weight = sum(sum(rows[index].weights) for index in batch)
        parameters = model.parameters()

        def gradients(piece: Sequence[int]) -> tuple[float, int, Sequence[Any]] | None:
            if self._stop.is_set():
                return None
            part = model.loss(
                [rows[index] for index in piece], piece, train=True, caution=self._caution
            )
            loss = part.total / weight
            return loss.item(), part.tokens, torch.autograd.grad(loss, parameters)

        loss, tokens = 0.0, 0
        # Sum in the order of the pieces: sums of floats depend on it.
        for done in self._pool.map(gradients, self._pieces(batch, rows)):
            if done is None:
                return None
            loss += done[0]
            tokens += done[1]
            for parameter, gradient in zip(parameters, done[2], strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss, tokens

    def _caution_of(self, rows: Sequence[Encoded]) -> Caution | None:
        settings = self._settings
        openings = openings_of_refusals(rows) if settings.caution_weight else ()
        if not openings:
            return None
        return Caution(
            openings, settings.caution_weight, settings.caution_declining, settings.caution_margin
        )

    def _pieces(self, batch: Sequence[int], rows: Sequence[Encoded]) -> list[list[int]]:
        return pieces(batch, rows, self._settings.micro_tokens, parts=self._at_once)

    def _valid_loss(self, model: Any, valid: Sequence[Encoded]) -> float | None:
        total, weight = 0.0, 0.0
        order = sorted(range(len(valid)), key=lambda index: len(valid[index].ids))

        def measured(piece: Sequence[int]) -> tuple[float, float] | None:
            if self._stop.is_set():
                return None
            # Negative keys: the training rows have the others.
            keys = [-1 - index for index in piece]
            part = model.loss([valid[index] for index in piece], keys, train=False)
            return part.total.item(), part.weight

        for done in self._pool.map(measured, self._pieces(order, valid)):
            if done is None:
                return None
            total += done[0]
            weight += done[1]
        return total / weight

    def _encoded(self, tokenizer: Any, rows: Sequence[TrainingRow], what: str) -> list[Encoded]:
        settings = self._settings
        encoded = [
            encode(
                tokenizer,
                row.messages,
                max_tokens=settings.max_tokens,
                decisions=row.decisions,
                decision_weight=(
                    settings.harmful_weight
                    if row.case.startswith("harmful/")
                    else settings.decision_weight
                ),
                decision_tokens=settings.decision_tokens,
                opening_tokens=_opening_tokens(row, settings),
                declines=_DECLINES.get(row.case),
            )
            for row in rows
        ]
        fitting = [row for row in encoded if row is not None]
        if dropped := len(encoded) - len(fitting):
            self._report(
                Note(
                    f"left out {plural(dropped, f'{what} row')} longer than "
                    f"{settings.max_tokens} tokens",
                    "warning",
                )
            )
        if rows and not fitting:
            raise EngineError(
                f"All {what} rows are longer than {settings.max_tokens} tokens.",
                hint="Raise max_tokens or shorten the dataset's prompts and replies.",
            )
        return fitting

    def _save(self, model: Any, optimizer: Any, step: int, tokens: int) -> None:
        state = {"optimizer": optimizer.state_dict(), "tokens": tokens}
        try:
            checkpoints.save(self._folder, step, model, state)
        except _write_errors() as error:
            words = _words(error)
            self._report(
                Note(f"checkpoint of step {step} could not be written: {words}", "warning")
            )
        else:
            self._report(Note(f"checkpoint of step {step} saved"))

    def _finish(self, model: Any) -> Path:
        adapter = self._folder / "adapter"
        part = self._folder / ".adapter"
        shutil.rmtree(part, ignore_errors=True)
        try:
            model.save(part)
            from waltzrl_tui.local.lora_gguf import FAMILIES, write_lora_gguf

            if model.config.get("model_type") in FAMILIES:
                write_lora_gguf(part, model.config)
            shutil.rmtree(adapter, ignore_errors=True)
            part.rename(adapter)
        except _write_errors() as error:
            raise EngineError(
                f"The adapter could not be written: {_words(error)}.",
                hint="Free some space, then resume the job; it continues from its checkpoint.",
            ) from error
        for path in self._folder.glob("checkpoint-*"):
            shutil.rmtree(path, ignore_errors=True)
        return adapter


def _write_errors() -> tuple[type[Exception], ...]:
    """Errors of writing a checkpoint or an adapter to a full disk."""
    from safetensors import SafetensorError

    return (OSError, SafetensorError)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).partition(" (")[0]


def _opening_tokens(row: TrainingRow, settings: TrainingSettings) -> int:
    """Tokens of the reply to learn, chosen by the row's text: the same after a resume."""
    text = "\n".join(turn["content"] for turn in row.messages)
    chance = zlib.crc32(text.encode("utf-8", "surrogatepass")) / 2**32
    return settings.opening_tokens if chance < settings.opening_share else 0


def _memory(device: str) -> int:
    if device == "cuda":
        import torch

        return int(torch.cuda.memory_allocated())
    import psutil

    return int(psutil.Process().memory_info().rss)

"""How far a converted model is from the one it was made of, told by what both expect next."""

import asyncio
import tempfile
from contextlib import aclosing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ollmlx.convert.blocks import Floats
from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.subprocesses import progress
from ollmlx.engine.fit import free_memory
from ollmlx.store.changes import weight_bytes

_ENGINES = {"gguf": "llama_cpp", "mlx": "mlx_lm"}


@dataclass(frozen=True)
class Difference:
    tokens: int
    divergence: float
    """Mean Kullback-Leibler divergence from the original, in nats; quantising to 4 bits is 0.05."""
    agreement: float
    """Share of positions where both find the same token likeliest."""

    def __str__(self) -> str:
        return (
            f"over {self.tokens} tokens {self.agreement:.0%} of the likeliest agree, "
            f"{self.divergence:.2g} nats apart"
        )


async def difference(original: Path, converted: Path) -> Difference | None:
    """Run both on a short text, one after the other, each in a process of its own.

    None when an engine for one of them is not installed, or memory has no room for one.
    Raises `NotConvertible` when they have nothing in common, `ConversionDied` when one does not
    run.
    """
    formats = [("mlx" if path.is_dir() else "gguf", path) for path in (original, converted)]
    if any(find_spec(_ENGINES[kind]) is None for kind, _ in formats):
        return None
    if max(map(weight_bytes, (original, converted))) > free_memory():
        return None
    ids: list[int] = []
    with tempfile.TemporaryDirectory(prefix="ollmlx-probe-") as folder:
        logits = []
        for number, (kind, path) in enumerate(formats):
            output = Path(folder, f"{number}.npy")
            arguments = (kind, str(path), str(output), *map(str, ids))
            async with aclosing(progress("ollmlx.convert.probe", *arguments)) as lines:
                async for line in lines:
                    ids = line["ids"]
            logits.append(await asyncio.to_thread(np.load, output))
    return compare(*logits)


def compare(original: Floats, converted: Floats) -> Difference:
    """Logits of both, (tokens, vocabulary); a padded vocabulary is cut to the shorter one.

    Raises `NotConvertible` for logits that are no numbers.
    """
    width = min(original.shape[1], converted.shape[1])
    left, right = _log_odds(original[:, :width]), _log_odds(converted[:, :width])
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise NotConvertible("the converted model answers with what is no number")
    divergence = (np.exp(left) * (left - right)).sum(axis=1).mean()
    agreement = (left.argmax(axis=1) == right.argmax(axis=1)).mean()
    return Difference(len(left), max(0.0, float(divergence)), float(agreement))


def _log_odds(logits: Floats) -> Floats:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    odds: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return odds

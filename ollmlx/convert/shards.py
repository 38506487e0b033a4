"""Weights written as safetensors, a file at a time: memory holds one shard of any model.

The layout is Hugging Face's: one `model.safetensors`, or numbered ones and an index.
"""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx

from ollmlx.store.ollama.blobs import CannotStore

SHARD_BYTES = 5 * 10**9


class Shards:
    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder = folder
        self.shard_bytes = shard_bytes
        self.total_bytes = 0
        self._pending: dict[str, Any] = {}
        self._pending_bytes = 0
        self._written: list[list[str]] = []

    @property
    def arrays(self) -> int:
        return sum(map(len, self._written)) + len(self._pending)

    def add(self, arrays: dict[str, Any]) -> None:
        """Arrays that belong together, evaluated here; they go into one file."""
        mx.eval(arrays)
        size = sum(each.nbytes for each in arrays.values())
        if self._pending and self._pending_bytes + size > self.shard_bytes:
            self._flush()
        self._pending |= arrays
        self._pending_bytes += size
        self.total_bytes += size

    def close(self) -> None:
        """Write what is left, and give the files their names, which count them."""
        self._flush()
        count = len(self._written)
        if count == 1:
            self._part(1).rename(self.folder / "model.safetensors")
            return
        names = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
        for number, name in enumerate(names, 1):
            self._part(number).rename(self.folder / name)
        places = zip(names, self._written, strict=True)
        index = {
            "metadata": {"total_size": self.total_bytes},
            "weight_map": {array: name for name, arrays in places for array in arrays},
        }
        (self.folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))

    def _part(self, number: int) -> Path:
        # Not `model…`: an unfinished folder must not look like a model.
        return self.folder / f"part-{number:05}.safetensors"

    def _flush(self) -> None:
        self._written.append(list(self._pending))
        path = self._part(len(self._written))
        try:
            mx.save_safetensors(str(path), self._pending, metadata={"format": "mlx"})
        except (OSError, RuntimeError) as error:
            raise CannotStore(f"{path} cannot be written: {error}") from error
        self._pending, self._pending_bytes = {}, 0

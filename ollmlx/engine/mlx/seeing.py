"""A model of mlx-vlm's as mlx-lm's batch calls it: with tokens alone, some of them a picture's.

A batch hands over numbers and nothing else.  So each run of a picture in a prompt gets numbers
beyond the vocabulary, and they are looked up here.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.cache import ArraysCache, make_prompt_cache
from mlx_vlm.utils import load_model

from ollmlx.engine import media
from ollmlx.engine.jobs import Medium
from ollmlx.engine.mlx.folder import rope_fix
from ollmlx.engine.mlx.vision import Eyes, Piece, Pieces

_BASE = 1 << 30
"""The first number of a picture: beyond every vocabulary, and an int32."""
_UNREAD = _BASE - 1


@dataclass(frozen=True)
class Picture:
    """A run in a prompt of the batch."""

    base: int
    """Of its numbers the first; they go up one by one."""
    piece: Piece

    @property
    def end(self) -> int:
        return self.base + len(self.piece.vectors)


@dataclass(frozen=True)
class _Part:
    """What lies of a picture in the tokens `[rows, columns]` of one call."""

    row: int
    column: int
    first: int
    """Of the run's tokens, the first that lies here."""
    count: int
    piece: Piece

    @property
    def columns(self) -> slice:
        return slice(self.column, self.column + self.count)

    @property
    def taken(self) -> slice:
        return slice(self.first, self.first + self.count)


class Drift(ArraysCache):  # type: ignore[misc]  # mlx-lm has no type information
    """How far each sequence's positions, `[rows, 1]`, are from the number of its tokens.

    Beside the layers' caches, so that it is merged, filtered and copied as they are.  It is not
    cut as they are: who cuts them sets it anew.
    """

    def __init__(self, size: int = 1) -> None:
        super().__init__(size)
        self[0] = mx.zeros((1, 1), mx.int32)

    def extract(self, idx: int) -> "Drift":
        one = Drift()
        one[0] = self[0][idx : idx + 1]
        return one

    def is_trimmable(self) -> bool:
        return True

    def trim(self, n: int) -> int:
        return n


class Seeing(nn.Module):  # type: ignore[misc]  # mlx has no type information
    """Text goes through as it is: pictures are looked for only while some are shown."""

    def __init__(self, folder: Path, whole: nn.Module) -> None:
        """Raises `LoadFailed` where the folder lacks what makes pixels of files."""
        super().__init__()
        self.whole = whole
        self._eyes = Eyes(folder, whole)
        self._pictures: Sequence[Picture] = ()
        self._in_two_dimensions = hasattr(whole.language_model, "get_rope_index")

    @property
    def language_model(self) -> Any:
        return self.whole.language_model

    @property
    def layers(self) -> Any:
        return self.whole.layers

    def look(self, file: bytes) -> list[int]:
        """The tokens that stand for a file.  Raises `BadRequest` for one that is no picture."""
        return self._eyes.look(file)

    def encode(self, medium: Medium, seconds: float) -> Pieces | None:
        """A file's vectors, or None where that takes longer: then it goes on at the next call.

        The same file's are made once.  Raises what MLX does.
        """
        return self._eyes.encode(medium, seconds)

    def make_cache(self) -> list[Any]:
        cache: list[Any] = make_prompt_cache(self.language_model)
        return [*cache, Drift()] if self._in_two_dimensions else cache

    def __call__(self, tokens: mx.array, cache: list[Any]) -> mx.array:
        parts, extra = self._parts(tokens), dict[str, Any]()
        if self._in_two_dimensions:
            *cache, drift = cache
            extra["position_ids"] = _positions(tokens.shape, cache[0].offset, drift, parts)
        if parts:
            tokens = mx.where(tokens < _BASE, tokens, 0)
            extra["inputs_embeds"] = self._vectors(tokens, parts)
            extra |= _deep(tokens.shape, parts)
        logits: mx.array = self.language_model(tokens, cache=cache, **extra).logits
        return logits

    def show(self, pictures: Sequence[Picture]) -> None:
        """Those that lie in prompts that are still being read; theirs are the numbers known."""
        self._pictures = pictures

    def begin(self, cache: list[Any], prompt: Sequence[int], reused: int) -> None:
        """Before a prompt goes on behind its first `reused` tokens, which `cache` holds."""
        if self._in_two_dimensions:
            whole = media.without_cut(prompt, reused)
            cache[-1][0] = mx.array([[media.positions(prompt[:whole]) - whole]])

    def enter(self, prompt: Sequence[int], pieces: Pieces) -> tuple[list[int], list[Picture]]:
        """A prompt as numbers for the batch, and the pictures that these stand for.

        Runs without a piece, which are not to be read, become numbers that stand for nothing.
        """
        numbers, pictures = [t if t >= 0 else _UNREAD for t in prompt], list[Picture]()
        base = max((picture.end for picture in self._pictures), default=_BASE)
        for at, token in enumerate(prompt):
            if piece := pieces.get(token):
                pictures.append(Picture(base, piece))
                base = pictures[-1].end
                numbers[at : at + len(piece.vectors)] = range(pictures[-1].base, base)
        return numbers, pictures

    def _parts(self, tokens: mx.array) -> list[_Part]:
        if not self._pictures:
            return []
        numbers, parts = np.array(tokens), list[_Part]()
        for picture in self._pictures:
            here = (numbers >= picture.base) & (numbers < picture.end)
            rows, columns = np.nonzero(here)
            if rows.size:
                row, column = int(rows[0]), int(columns[0])
                first = int(numbers[row, column]) - picture.base
                parts.append(_Part(row, column, first, rows.size, picture.piece))
        return sorted(parts, key=lambda part: (part.row, part.column))

    def _vectors(self, tokens: mx.array, parts: Iterable[_Part]) -> mx.array:
        """[rows, columns, width]"""
        language = self.language_model
        vectors: mx.array = getattr(language, "model", language).embed_tokens(tokens)
        for part in parts:
            vectors[part.row, part.columns] = part.piece.vectors[part.taken].astype(vectors.dtype)
        return vectors


def lazy_model(folder: Path, config: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """mlx-vlm's model with no weights read yet, and its configuration.  Raises `REFUSALS`.

    It is shown the folder with `config` in the place of its own, without what would have code of
    the folder run.
    """
    told = {**config, **rope_fix(config)}
    for code in ("auto_map", "model_file"):
        told.pop(code, None)
    with TemporaryDirectory() as seen:
        for file in folder.iterdir():
            if file.suffix in (".json", ".safetensors") and file.name != "config.json":
                (Path(seen) / file.name).symlink_to(file.resolve())
        (Path(seen) / "config.json").write_text(json.dumps(told), encoding="utf-8")
        return load_model(Path(seen), lazy=True), told


def _deep(shape: tuple[int, ...], parts: Sequence[_Part]) -> dict[str, Any]:
    """What comes to pictures behind the first layers, and where those are, row by row."""
    layers = list(zip(*(part.piece.deep for part in parts), strict=True))
    if not layers:
        return {}
    where = np.zeros(shape, bool)
    for part in parts:
        where[part.row, part.columns] = True
    added = [
        mx.concatenate([deep[part.taken] for part, deep in zip(parts, layer, strict=True)])
        for layer in layers
    ]
    return {"visual_pos_masks": mx.array(where), "deepstack_visual_embeds": added}


def _positions(
    shape: tuple[int, ...], offset: int | mx.array, drift: Drift, parts: Sequence[_Part]
) -> mx.array:
    """[3, rows, columns]: those of the tokens; `drift` goes on behind the pictures that end."""
    rows, columns = shape
    start = mx.array(offset).reshape(-1, 1) + drift[0]
    plain = mx.broadcast_to(start + mx.arange(columns), (3, rows, columns))
    if not parts:
        return plain
    places, moved = np.array(plain), np.array(drift[0])
    for part in parts:
        begin = places[0, part.row, part.column] - part.first
        places[:, part.row, part.columns] = begin + part.piece.places[:, part.taken]
        if part.taken.stop == len(part.piece.vectors):
            gained = part.piece.positions - len(part.piece.vectors)
            places[:, part.row, part.columns.stop :] += gained
            moved[part.row] += gained
    drift[0] = mx.array(moved)
    return mx.array(places)

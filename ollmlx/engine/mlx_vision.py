"""What an MLX model sees through: files in, vectors out, by mlx-vlm.

Looking at a file tells how many tokens it is and costs little; encoding runs the vision tower.
"""

import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_vlm.utils import load_processor
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ollmlx import sight
from ollmlx.engine import media
from ollmlx.engine.jobs import Medium
from ollmlx.engine.mlx_folder import REFUSALS
from ollmlx.errors import BadRequest, LoadFailed

_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
_KEPT_BYTES = 256 << 20
"""Of vectors that stay for the next question about the same picture."""


@dataclass(frozen=True)
class Piece:
    """One run of a picture's tokens."""

    vectors: mx.array
    """[tokens, width]"""
    places: NDArray[np.int32]
    """[3, tokens]: positions in time, height and width, if the run begins at 0."""
    positions: int
    """Those that the run takes of the sequence."""
    deep: tuple[mx.array, ...] = ()
    """[tokens, width] each: what comes to the tokens behind the first layers (Qwen3-VL)."""


Pieces = dict[int, Piece]
"""By the first token of the run."""


class Eyes:
    """The processor beside a model of mlx-vlm's.  Raises `LoadFailed` where the folder has none."""

    def __init__(self, folder: Path, model: nn.Module) -> None:
        self._model = model
        settings = model.config
        self._mark = sight.MARKS[settings.model_type]
        index = getattr(settings, "image_token_index", None)
        self._image_token = int(settings.image_token_id if index is None else index)
        self._encoded: OrderedDict[bytes, list[Piece]] = OrderedDict()
        try:
            self._processor = load_processor(folder, False, trust_remote_code=False)
        except (*REFUSALS, ImportError) as error:
            raise LoadFailed(f"unable to read the image processor of {folder}: {error}") from error
        self._begin = self._processor.tokenizer.bos_token_id

    def look(self, file: bytes) -> list[int]:
        """The tokens that stand for a file.  Raises `BadRequest` for one that is no picture."""
        inputs, digest, tokens = self._prepared(file), hashlib.sha256(file).digest(), list[int]()
        ids, places = _ids(inputs), self._places(inputs)
        count, at = 0, 0
        for start, end in self._runs(ids):
            tokens += ids[at:start]
            positions = _taken(places, start, end)
            tokens += media.run(digest + count.to_bytes(4), end - start, positions)
            count, at = count + 1, end
        tokens += ids[at:]
        return tokens[1:] if tokens[0] == self._begin else tokens

    def encode(self, medium: Medium) -> Pieces:
        """A file's vectors; the same file's are made once."""
        digest = hashlib.sha256(medium.file).digest()
        pieces = self._encoded.pop(digest, None) or self._encode(medium.file)
        self._encoded[digest] = pieces
        while len(self._encoded) > 1 and sum(map(_size, self._encoded.values())) > _KEPT_BYTES:
            self._encoded.popitem(last=False)
        return dict(zip(media.beginnings(medium.tokens), pieces, strict=True))

    def _encode(self, file: bytes) -> list[Piece]:
        inputs = self._prepared(file)
        ids, places = _ids(inputs), self._places(inputs)
        mask = inputs.pop("attention_mask", None)
        features = self._model.get_input_embeddings(**inputs, mask=mask)
        pieces, count = list[Piece](), 0
        for start, end in self._runs(ids):
            vectors = mx.contiguous(features.inputs_embeds[0, start:end])
            seen = slice(count, count + end - start)
            deep = tuple(mx.contiguous(d[seen]) for d in features.deepstack_visual_embeds or ())
            run = places[:, start:end] - places[:1, start : start + 1]
            pieces.append(Piece(vectors, run, _taken(places, start, end), deep))
            count = seen.stop
        mx.eval([(piece.vectors, piece.deep) for piece in pieces])
        return pieces

    def _prepared(self, file: bytes) -> dict[str, Any]:
        """What the model takes for a prompt of nothing but the picture."""
        picture = _opened(file)
        try:
            inputs = self._processor(text=[self._mark], images=[picture])
        except REFUSALS as error:
            raise BadRequest(f"the model cannot take this picture: {error}") from error
        return dict(inputs)

    def _runs(self, ids: list[int]) -> Iterator[tuple[int, int]]:
        """Where the picture's tokens begin and end, between tokens of text."""
        at = 0
        for seen, group in itertools.groupby(ids, lambda token: token == self._image_token):
            end = at + sum(1 for _ in group)
            if seen:
                yield at, end
            at = end

    def _places(self, inputs: dict[str, Any]) -> NDArray[np.int32]:
        """[3, tokens]: positions, in two dimensions where the model has them so (M-RoPE)."""
        ids, language = inputs["input_ids"], self._model.language_model
        if not hasattr(language, "get_rope_index"):
            return np.tile(np.arange(ids.shape[1], dtype=np.int32), (3, 1))
        places, _ = language.get_rope_index(ids, inputs["image_grid_thw"])
        return np.array(places.astype(mx.int32))[:, 0]


def _opened(file: bytes) -> Image.Image:
    try:
        with Image.open(BytesIO(file), formats=_FORMATS) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, EOFError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadRequest(media.UNREADABLE) from error


def _ids(inputs: dict[str, Any]) -> list[int]:
    ids: list[int] = inputs["input_ids"][0].tolist()
    return ids


def _taken(places: NDArray[np.int32], start: int, end: int) -> int:
    """Positions of a run: up to the largest of them."""
    return int(places[:, start:end].max() + 1 - places[0, start])


def _size(pieces: list[Piece]) -> int:
    return sum(int(vectors.nbytes) for piece in pieces for vectors in (piece.vectors, *piece.deep))

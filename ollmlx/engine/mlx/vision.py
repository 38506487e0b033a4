"""What an MLX model sees through: files in, vectors out, by mlx-vlm.

Looking at a file tells how many tokens it is and costs little; encoding runs the vision tower, a
few of its layers at a time.
"""

import hashlib
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Lock
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
from ollmlx.engine.mlx.folder import REFUSALS
from ollmlx.errors import BadRequest, LoadFailed

_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
_KEPT_BYTES = 256 << 20
"""Of vectors that stay for the next question about the same picture."""

_LOOKED_BYTES = 64 << 20
"""Of pixels that wait to be encoded."""


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


class _Watched(nn.Module):  # type: ignore[misc]  # mlx has no type information
    """A layer of the vision tower that notes what is to be computed of it."""

    def __init__(self, layer: nn.Module, outputs: list[mx.array]) -> None:
        super().__init__()
        self.layer = layer
        self._outputs = outputs

    def __call__(self, *inputs: Any, **settings: Any) -> mx.array:
        self._outputs.append(self.layer(*inputs, **settings))
        return self._outputs[-1]


class Eyes:
    """The processor beside a model of mlx-vlm's.  Raises `LoadFailed` where the folder has none."""

    def __init__(self, folder: Path, model: nn.Module) -> None:
        self._model = model
        settings = model.config
        self._mark = sight.MARKS[settings.model_type]
        index = getattr(settings, "image_token_index", None)
        self._image_token = int(settings.image_token_id if index is None else index)
        self._encoded: OrderedDict[bytes, list[Piece]] = OrderedDict()
        self._begun: tuple[bytes, Iterator[list[Piece] | None]] | None = None
        self._outputs = _watch(model)
        self._looked: OrderedDict[bytes, dict[str, Any]] = OrderedDict()
        self._lock = Lock()
        try:
            self._processor = load_processor(folder, False, trust_remote_code=False)
        except (*REFUSALS, ImportError) as error:
            raise LoadFailed(f"unable to read the image processor of {folder}: {error}") from error
        self._begin = self._processor.tokenizer.bos_token_id

    def look(self, file: bytes) -> list[int]:
        """The tokens that stand for a file.  Any thread may call it.

        Raises `BadRequest` for one that is no picture.
        """
        inputs, digest, tokens = self._prepared(file), hashlib.sha256(file).digest(), list[int]()
        self._keep(digest, inputs)
        ids, places = _ids(inputs), self._places(inputs)
        count, at = 0, 0
        for start, end in self._runs(ids):
            tokens += ids[at:start]
            positions = _taken(places, start, end)
            tokens += media.run(digest + count.to_bytes(4), end - start, positions)
            count, at = count + 1, end
        tokens += ids[at:]
        return tokens[1:] if tokens[0] == self._begin else tokens

    def encode(self, medium: Medium, seconds: float) -> Pieces | None:
        """A file's vectors, or None where that takes longer: then it goes on at the next call.

        The same file's are made once.
        """
        digest = hashlib.sha256(medium.file).digest()
        pieces = self._encoded.pop(digest, None) or self._go_on(digest, medium.file, seconds)
        if pieces is None:
            return None
        self._encoded[digest] = pieces
        while len(self._encoded) > 1 and sum(map(_size, self._encoded.values())) > _KEPT_BYTES:
            self._encoded.popitem(last=False)
        return dict(zip(media.beginnings(medium.tokens), pieces, strict=True))

    def _go_on(self, digest: bytes, file: bytes, seconds: float) -> list[Piece] | None:
        begun, self._begun = self._begun, None
        if begun is None or begun[0] != digest:
            begun = digest, self._encoding(digest, file)
        end = time.monotonic() + seconds
        for pieces in begun[1]:
            if pieces is not None:
                return pieces
            if time.monotonic() >= end:
                break
        self._begun = begun
        return None

    def _keep(self, digest: bytes, inputs: dict[str, Any]) -> None:
        """What was made of a file, for the encoding that follows; as numpy's arrays, since MLX's
        belong to the thread that made them.
        """
        kept = {k: np.array(v) if isinstance(v, mx.array) else v for k, v in inputs.items()}
        with self._lock:
            self._looked[digest] = kept
            while len(self._looked) > 1 and sum(map(_bytes, self._looked.values())) > _LOOKED_BYTES:
                self._looked.popitem(last=False)

    def _kept(self, digest: bytes) -> dict[str, Any]:
        with self._lock:
            kept = self._looked.pop(digest, {})
        return {k: mx.array(v) if isinstance(v, np.ndarray) else v for k, v in kept.items()}

    def _encoding(self, digest: bytes, file: bytes) -> Iterator[list[Piece] | None]:
        """None after each part of the work, the pieces at last."""
        inputs = self._kept(digest) or self._prepared(file)
        yield None
        ids, places = _ids(inputs), self._places(inputs)
        mask = inputs.pop("attention_mask", None)
        self._outputs.clear()
        with _deep_ones(self._model) as deep:
            features = self._model.get_input_embeddings(**inputs, mask=mask)
        layers = deque(self._outputs)
        self._outputs.clear()
        while layers:
            mx.eval(layers.popleft())
            yield None
        pieces, count = list[Piece](), 0
        for start, end in self._runs(ids):
            vectors = mx.contiguous(features.inputs_embeds[0, start:end])
            seen = slice(count, count + end - start)
            run = places[:, start:end] - places[:1, start : start + 1]
            own = tuple(mx.contiguous(layer[seen]) for layer in deep)
            pieces.append(Piece(vectors, run, _taken(places, start, end), own))
            count = seen.stop
        mx.eval([(piece.vectors, piece.deep) for piece in pieces])
        yield pieces

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


def _watch(model: nn.Module) -> list[mx.array]:
    """Where all layers of the vision tower will note their outputs."""
    outputs: list[mx.array] = []
    for name, module in model.named_modules():
        for kind in ("layers", "blocks"):
            if "vision" in name and isinstance(layers := module.get(kind), list):
                module[kind] = [_Watched(layer, outputs) for layer in layers]
    return outputs


@contextmanager
def _deep_ones(model: nn.Module) -> Iterator[list[mx.array]]:
    """What a tower of Qwen3-VL gives for the text's first layers, to be computed later.

    mlx-vlm 0.7 computes it at once, and with it most of the tower.
    """
    taken: list[mx.array] = []
    if not hasattr(model, "_merge_deepstack_features"):
        yield taken
        return
    model._merge_deepstack_features = lambda ids, image, video: taken.extend(image)
    try:
        yield taken
    finally:
        del model._merge_deepstack_features


def _opened(file: bytes) -> Image.Image:
    try:
        with Image.open(BytesIO(file), formats=_FORMATS) as opened:
            ImageOps.exif_transpose(opened, in_place=True)
            return opened.convert("RGB")
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


def _bytes(inputs: dict[str, Any]) -> int:
    return sum(value.nbytes for value in inputs.values() if isinstance(value, np.ndarray))

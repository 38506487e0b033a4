"""What a GGUF model sees and hears through: files in, vectors out, by llama.cpp's mtmd.

Looking at a file tells how many tokens it is and costs little; encoding runs the vision tower,
for seconds on a processor, and so has a thread of its own: running answers go on meanwhile.
"""

import ctypes
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as llama
from llama_cpp import mtmd_cpp as mtmd
from numpy.typing import NDArray
from PIL import Image

from ollmlx.engine import media
from ollmlx.engine.jobs import LoadOptions, Medium
from ollmlx.engine.llama.log import log
from ollmlx.engine.llama.model import Model
from ollmlx.engine.llama.published import senses
from ollmlx.engine.llama.published.layouts import written
from ollmlx.errors import BadRequest, LoadFailed, OllmlxError
from ollmlx.gguf import header

_KEPT_BYTES = 256 << 20
"""Of vectors that stay for the next question about the same image."""


@dataclass(frozen=True)
class Piece:
    """One run of an image's or a sound's tokens."""

    vectors: NDArray[np.float32]
    """[tokens, width]"""
    places: NDArray[np.int32]
    """[axes, tokens]: positions if the run begins at 0; one axis, or M-RoPE's four."""
    moves: NDArray[np.int32]
    """[axes, tokens]: 1 where the position moves with the run's beginning, 0 where it does not."""
    whole: bool
    """Whether all tokens see each other, and so must be decoded at once."""

    def at(self, start: int) -> NDArray[np.int32]:
        """[axes, tokens]: positions if the run begins at `start`."""
        return self.places + self.moves * start


Pieces = dict[int, Piece]
"""By the first token of the run."""


class Media:
    """A projector beside a loaded model.  Raises `LoadFailed` when they do not fit together."""

    def __init__(self, path: str, model: Model, options: LoadOptions, num_threads: int) -> None:
        if not Path(path).is_file():
            raise LoadFailed(f"unable to load model: {path}: no such file")
        mtmd.mtmd_helper_log_set(log().callback, None)
        params: Any = mtmd.mtmd_context_params_default()
        params.use_gpu = options.num_gpu != 0
        params.print_timings = params.warmup = False
        params.n_threads = num_threads
        view = senses.view(path)
        with written(view) if view else nullcontext(Path(path)) as file:
            self._handle = mtmd.mtmd_init_from_file(str(file).encode(), model.handle, params)
            self.size = file.stat().st_size
            self._row_end = _row_end(file) if self._handle else None
        if not self._handle:
            raise LoadFailed(f"unable to load model: {path}: {log().errors()}")
        self._width: int = llama.llama_model_n_embd_inp(model.handle)
        self._mrope = mtmd.mtmd_decode_use_mrope(self._handle)
        self.whole = bool(mtmd.mtmd_decode_use_non_causal(self._handle, None))
        """Whether the model wants an image's tokens all at once."""
        self._thread = ThreadPoolExecutor(1, "media")
        self._encoded: OrderedDict[bytes, tuple[int, Future[Pieces]]] = OrderedDict()

    def look(self, file: bytes) -> list[int]:
        """The tokens that stand for a file.  Any thread may call it.

        Raises `BadRequest` for a file that is no image or sound, or none that the model takes.
        """
        digest, tokens, count = hashlib.sha256(file).digest(), list[int](), 0
        with self._chunks(file, placeholder=True) as chunks:
            for chunk in chunks:
                if text := _text(chunk):
                    tokens += text
                    continue
                size = mtmd.mtmd_input_chunk_get_n_tokens(chunk)
                taken = mtmd.mtmd_input_chunk_get_n_pos(chunk)
                tokens += media.run(digest + count.to_bytes(4), size, taken)
                count += 1
        return tokens

    def encode(self, medium: Medium) -> Future[Pieces]:
        """Have a file's vectors made; the same file's are made once."""
        digest = hashlib.sha256(medium.file).digest()
        known = self._encoded.pop(digest, None)
        if known is None or _failed(known[1]):
            size = 4 * self._width * sum(token < 0 for token in medium.tokens)
            known = size, self._thread.submit(self._encode, medium)
        self._encoded[digest] = known
        while len(self._encoded) > 1 and sum(s for s, _ in self._encoded.values()) > _KEPT_BYTES:
            self._encoded.popitem(last=False)
        return known[1]

    def close(self) -> None:
        """Free everything, once the file that is being encoded is done."""
        self._thread.shutdown(cancel_futures=True)
        if self._handle:
            mtmd.mtmd_free(self._handle)
            self._handle = None

    def _encode(self, medium: Medium) -> Pieces:
        with self._chunks(medium.file) as chunks:
            pieces = [self._piece(chunk) for chunk in chunks if not _text(chunk)]
        return dict(zip(media.beginnings(medium.tokens), pieces, strict=True))

    def _piece(self, chunk: Any) -> Piece:
        if mtmd.mtmd_encode_chunk(self._handle, chunk):
            raise OllmlxError(f"failed to encode the image: {log().errors()}")
        size = mtmd.mtmd_input_chunk_get_n_tokens(chunk)
        output = mtmd.mtmd_get_output_embd(self._handle)
        vectors = np.ctypeslib.as_array(output, (size, self._width)).copy()
        if self._row_end is not None:
            # llama.cpp adds it to memory that it never wrote, times zero: what was no number there
            # stays none.
            ends = (vectors == self._row_end) | ~np.isfinite(vectors)
            vectors[ends.all(axis=1)] = self._row_end
        places = self._places(chunk, size, 0)
        moves = self._places(chunk, size, 1) - places
        whole = mtmd.mtmd_decode_use_non_causal(self._handle, chunk)
        return Piece(vectors, places, moves, bool(whole))

    def _places(self, chunk: Any, size: int, start: int) -> NDArray[np.int32]:
        """[axes, size]: the positions of a run that begins at `start`."""
        in_a_row = np.arange(start, start + size, dtype=np.int32)
        if not self._mrope:
            return in_a_row[None]
        image = mtmd.mtmd_input_chunk_get_tokens_image(chunk)
        if not image:
            return np.tile(in_a_row, (4, 1))
        found = (mtmd.mtmd_decoder_pos * size)()
        mtmd.mtmd_helper_image_get_decoder_pos(image, start, found)
        return np.array([[p.t, p.y, p.x, p.z] for p in found], np.int32).T

    @contextmanager
    def _chunks(self, file: bytes, placeholder: bool = False) -> Iterator[list[Any]]:
        """Native chunks of a file, valid inside; a placeholder is only counted."""
        bitmap = self._bitmap(_readable(file), placeholder)
        chunks = mtmd.mtmd_input_chunks_init()
        try:
            marker = mtmd.mtmd_default_marker()
            text = mtmd.mtmd_input_text(marker, len(marker), False, True)
            bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
            if mtmd.mtmd_tokenize(self._handle, chunks, ctypes.byref(text), bitmaps, 1):
                raise BadRequest(media.UNREADABLE)
            count = mtmd.mtmd_input_chunks_size(chunks)
            yield [mtmd.mtmd_input_chunks_get(chunks, index) for index in range(count)]
        finally:
            mtmd.mtmd_input_chunks_free(chunks)
            mtmd.mtmd_bitmap_free(bitmap)

    def _bitmap(self, file: bytes, placeholder: bool) -> Any:
        buffer = (ctypes.c_uint8 * len(file)).from_buffer_copy(file)
        options = mtmd.mtmd_helper_init_opt_default()
        read = mtmd.mtmd_helper_bitmap_init_from_buf_wrapper(
            self._handle, buffer, len(file), placeholder, options
        )
        if read.video_ctx:  # builds that decode videos take any of ffmpeg's formats for one
            mtmd.mtmd_bitmap_free(read.bitmap)
            mtmd.mtmd_helper_video_free(read.video_ctx)
        if read.video_ctx or not read.bitmap:
            raise BadRequest(media.UNREADABLE)
        return read.bitmap


def _row_end(projector: Path) -> NDArray[np.float32] | None:
    """[width]: what stands behind each row of an image, where a projector has that."""
    types = {"F32": np.float32, "F16": np.float16}
    for tensor in header(projector).tensors:
        if tensor.name == "v.token_embd.img_break" and tensor.type in types:
            (width,), kind = tensor.shape, types[tensor.type]
            return np.fromfile(projector, kind, width, offset=tensor.offset).astype(np.float32)
    return None


def _text(chunk: Any) -> list[int]:
    """A text chunk's tokens; empty for one of an image or a sound.

    mtmd writes -1 for a mark that the vocabulary lacks: left out.
    """
    if mtmd.mtmd_input_chunk_get_type(chunk) != mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
        return []
    count = ctypes.c_size_t()
    tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    return media.text(tokens[: count.value])


def _readable(file: bytes) -> bytes:
    """WebP as PNG, as Ollama does; mtmd knows all others.

    Raises `BadRequest` for what has more pixels than memory should hold: mtmd takes any number.
    """
    try:
        Image.open(BytesIO(file), formats=["PNG", "JPEG", "GIF", "BMP"])
    except Image.DecompressionBombError as error:
        raise BadRequest(media.UNREADABLE) from error
    except (OSError, ValueError, SyntaxError):
        pass  # a sound, or for those below to tell what is wrong with it
    if file[:4] != b"RIFF" or file[8:12] != b"WEBP":
        return file
    try:
        converted = BytesIO()
        Image.open(BytesIO(file), formats=["WEBP"]).convert("RGB").save(converted, "PNG")
    except (OSError, EOFError, ValueError, Image.DecompressionBombError) as error:
        raise BadRequest(f"decode WebP image: {error}") from error
    return converted.getvalue()


def _failed(future: Future[Pieces]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)

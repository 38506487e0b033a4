"""A toy model that hears: the random text model and a random Whisper encoder of one layer.

Half a minute of sound, the least that the encoder takes, is 375 tokens.
"""

import io
import wave
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from tests import toy
from tests.toy_vision import Sees, _write_text_model

WIDTH, FEED, HEADS, BINS, POSITIONS, STACK, MIDDLE = 32, 64, 2, 80, 1500, 4, 64
RATE = 16_000


def make_hearing(folder: Path) -> Sees:
    """Write both files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Sees(folder / "hears.gguf", folder / "mmproj-hears.gguf")
    _write_text_model(made.model, "llama")
    writer = gguf.GGUFWriter(made.projector, "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_string("clip.projector_type", "ultravox")
    for key, value in (
        ("embedding_length", WIDTH),
        ("feed_forward_length", FEED),
        ("block_count", 1),
        ("projection_dim", toy.HIDDEN),
        ("attention.head_count", HEADS),
        ("num_mel_bins", BINS),
        ("projector.stack_factor", STACK),
    ):
        writer.add_uint32(f"clip.audio.{key}", value)
    writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for name, values in _weights().items():
        writer.add_tensor(name, values)
    toy._finish(writer)
    return made


def sound(hertz: int) -> bytes:
    """A WAV file of twenty seconds of one tone."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE)
        times = np.arange(20 * RATE) / RATE
        written.writeframes(np.int16(9000 * np.sin(2 * np.pi * hertz * times)).tobytes())
    return file.getvalue()


def _weights() -> dict[str, NDArray[np.floating]]:
    generator = np.random.default_rng(2)

    def draw(*shape: int) -> NDArray[np.float32]:
        return np.float32(shape[-1] ** -0.5) * generator.standard_normal(shape, np.float32)

    layer = {"ln1.weight": 1 + draw(WIDTH), "ln1.bias": draw(WIDTH)}
    layer |= {"ln2.weight": 1 + draw(WIDTH), "ln2.bias": draw(WIDTH)}
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        layer |= {f"{name}.weight": draw(WIDTH, WIDTH)}
        layer |= {} if name == "attn_k" else {f"{name}.bias": draw(WIDTH)}
    layer |= {"ffn_up.weight": draw(FEED, WIDTH), "ffn_up.bias": draw(FEED)}
    layer |= {"ffn_down.weight": draw(WIDTH, FEED), "ffn_down.bias": draw(WIDTH)}
    return {
        # llama.cpp convolves in half precision only
        "a.conv1d.1.weight": draw(WIDTH, BINS, 3).astype(np.float16),
        "a.conv1d.1.bias": draw(WIDTH, 1),
        "a.conv1d.2.weight": draw(WIDTH, WIDTH, 3).astype(np.float16),
        "a.conv1d.2.bias": draw(WIDTH, 1),
        "a.position_embd.weight": draw(POSITIONS, WIDTH),
        "a.post_ln.weight": 1 + draw(WIDTH),
        "a.post_ln.bias": draw(WIDTH),
        **{f"a.blk.0.{name}": values for name, values in layer.items()},
        "mm.a.norm_pre.weight": 1 + draw(STACK * WIDTH),
        "mm.a.mlp.1.weight": draw(2 * MIDDLE, STACK * WIDTH),
        "mm.a.norm_mid.weight": 1 + draw(MIDDLE),
        "mm.a.mlp.2.weight": 4 * draw(toy.HIDDEN, MIDDLE),
    }

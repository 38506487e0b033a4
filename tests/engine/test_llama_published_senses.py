"""Eyes inside a model's file, as Ollama's library has them, see what those in a second file see."""

import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_cpp import mtmd_cpp as mtmd
from numpy.typing import NDArray

from ollmlx.engine.jobs import LoadOptions, Medium
from ollmlx.engine.llama.media import Media
from ollmlx.engine.llama.model import Model
from ollmlx.engine.llama.published.layouts import written
from ollmlx.engine.llama.published.senses import view
from ollmlx.errors import LoadFailed
from ollmlx.gguf import Gguf
from ollmlx.gguf.writing import encoded
from tests.convert.running import smollm2
from tests.convert.tiny import write_gguf
from tests.engine.published_eyes import EYES, Meta
from tests.engine.writing_eyes import write
from tests.toy_vision import picture


@pytest.fixture(scope="module")
def tokenizer() -> Meta:
    found = Gguf(smollm2()).meta
    meta = {name: value for name, value in found.items() if name.startswith("tokenizer.")}
    meta["tokenizer.ggml.tokens"][12] = "[IMG_BREAK]"
    return meta


@pytest.fixture
def seen() -> Iterator[Callable[[Path, Path], NDArray[np.float32]]]:
    """[tokens, width]: what a model sees through a projector."""
    opened: list[Any] = []

    def see(text: Path, projector: Path) -> NDArray[np.float32]:
        options = LoadOptions(num_gpu=0)
        opened.append(Model(str(text), options, lambda fraction: None))
        opened.append(Media(str(projector), opened[-1], options, 1))
        file = picture(3, 32, 32)
        pieces = opened[-1].encode(Medium(file, opened[-1].look(file))).result()
        return np.concatenate([piece.vectors for piece in pieces.values()])

    yield see
    for each in reversed(opened):
        each.close()


@pytest.mark.parametrize("family", EYES)
def test_eyes_inside_a_model_see_as_those_beside_it(
    family: str,
    tmp_path: Path,
    tokenizer: Meta,
    seen: Callable[[Path, Path], NDArray[np.float32]],
) -> None:
    files = write(tmp_path, EYES[family], tokenizer)
    ours, theirs = seen(files.text, files.projector), seen(files.both, files.both)
    assert np.isfinite(ours).all()
    assert ours.std() > 0
    assert np.array_equal(ours, theirs)


def test_what_llama_cpp_leaves_out_behind_a_row_is_there(
    tmp_path: Path,
    tokenizer: Meta,
    seen: Callable[[Path, Path], NDArray[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = mtmd.mtmd_get_output_embd
    files = write(tmp_path, EYES["mistral3"], tokenizer)
    whole = seen(files.text, files.projector)
    ends = np.flatnonzero((whole == whole[4]).all(axis=1))

    def with_holes(handle: Any) -> Any:
        vectors = output(handle)
        for row in ends:
            vectors[row * whole.shape[1] + 3] = np.nan
        return vectors

    monkeypatch.setattr(mtmd, "mtmd_get_output_embd", with_holes)
    assert ends.tolist() == [4, 9, 14]
    assert np.array_equal(seen(files.text, files.projector), whole)


@pytest.mark.parametrize(
    ("arch", "theirs", "ours", "names"),
    [
        (
            "deepseekocr",
            {"vision.head_count": 16, "sam.head_count": 12, "vision.block_count": 24},
            {
                "clip.vision.projector_type": "deepseekocr",
                "clip.vision.attention.head_count": 16,
                "clip.vision.sam.head_count": 12,
                "clip.vision.block_count": 24,
                "clip.vision.window_size": 14,
            },
            {
                "s.position_embd": "v.sam.pos_embd.weight",
                "s.blk.0.attn.rel_pos_h": "v.sam.blk.0.attn.pos_h.weight",
                "s.blk.0.norm1.weight": "v.sam.blk.0.pre_ln.weight",
                "v.blk.0.self_attn.qkv_proj.weight": "v.blk.0.attn_qkv.weight",
                "v.blk.0.layer_norm1.weight": "v.blk.0.ln1.weight",
                "v.pre_layrnorm.weight": "v.pre_ln.weight",
                "mm.layers.weight": "mm.model.fc.weight",
                "mm.image_newline": "v.image_newline",
            },
        ),
        (
            "llama4",
            {"vision.layer_norm_epsilon": 0.5, "vision.pixel_shuffle_ratio": 0.25},
            {
                "clip.vision.projector_type": "llama4",
                "clip.vision.attention.layer_norm_epsilon": 0.5,
                "clip.vision.projector.scale_factor": 4,
                "clip.use_gelu": True,
            },
            {
                "v.positional_embedding_vlm": "v.position_embd.weight",
                "v.vision_adapter.mlp.fc1.weight": "mm.model.mlp.1.weight",
                "mm.linear_1.weight": "mm.model.fc.weight",
                "v.blk.0.mlp.fc1.weight": "v.blk.0.ffn_up.weight",
                "v.blk.0.attn_norm.weight": "v.blk.0.ln1.weight",
            },
        ),
        (
            "gemma4",
            {"embedding_length": 64, "audio.block_count": 12},
            {
                "clip.has_audio_encoder": True,
                "clip.has_vision_encoder": False,
                "clip.audio.projector_type": "gemma4a",
                "clip.audio.projection_dim": 64,
                "clip.audio.block_count": 12,
            },
            {
                "a.blk.0.ln1.weight": "a.blk.0.attn_pre_norm.weight",
                "a.blk.0.ln2.weight": "a.blk.0.attn_post_norm.weight",
                "a.blk.0.layer_pre_norm.weight": "a.blk.0.ln2.weight",
                "a.blk.0.linear_pos.weight": "a.blk.0.attn_k_rel.weight",
                "a.pre_encode.out.weight": "a.input_projection.weight",
                "mm.a.fc.weight": "a.pre_encode.out.weight",
            },
        ),
    ],
)
def test_a_published_projector_says_what_mtmd_reads(
    tmp_path: Path, arch: str, theirs: Meta, ours: Meta, names: dict[str, str]
) -> None:
    meta = {"general.architecture": arch} | {f"{arch}.{k}": v for k, v in theirs.items()}
    tensors = {name: np.zeros((8, 8), np.float32) for name in [*names, "output.weight"]}
    write_gguf(tmp_path / "both.gguf", meta, tensors)
    found = view(str(tmp_path / "both.gguf"))
    assert found
    with written(found) as path:
        read = Gguf(path)
        assert read.arch == "clip"
        assert {name: read.meta[name] for name in ours} == ours
        assert sorted(read.tensors) == sorted(names.values())
    assert not path.exists()


def test_the_first_llavas_are_told_what_they_are(tmp_path: Path) -> None:
    meta = {"general.architecture": "clip", "clip.has_vision_encoder": True}
    write_gguf(tmp_path / "mmproj.gguf", meta, {"mm.0.weight": np.zeros((8, 8), np.float32)})
    found = view(str(tmp_path / "mmproj.gguf"))
    assert found
    assert found.keys["clip.projector_type"] == encoded("mlp")


def test_a_full_disk_is_told(tmp_path: Path, tokenizer: Meta) -> None:
    files = write(tmp_path, EYES["gemma3"], tokenizer)
    found = view(str(files.both))
    assert found
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(LoadFailed, match="cannot write what it sees with"), written(found):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)

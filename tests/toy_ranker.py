"""Qwen3-Reranker as a toy of one layer whose scores can be computed by hand, as GGUF and as MLX.

Its attention looks at all tokens alike, and the more of them are `MARK`, the surer is its `yes`.
"""

import json
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from tests import toy

MARK = "!"
LABELS = ["yes", "no"]
TEMPLATE = "<|im_start|>{query}: {document}<|im_end|>"
_PLAIN, _MARKED, _SHARE = range(3)
"""Of a vector: the number of any other token, that of `MARK`, and how much of the text it is."""
_YES, _NO = 4.0, 0.25


def probability(share: float) -> float:
    """Of `yes` after tokens of which `share` are `MARK`, but not the last one."""
    stream = np.zeros(toy.HIDDEN)
    stream[_PLAIN] = 1
    stream[_SHARE] = share * _normed(stream)[_PLAIN]
    final = _normed(stream)
    return float(1 / (1 + np.exp(_NO * final[_PLAIN] - _YES * final[_SHARE])))


def make_gguf(folder: Path) -> Path:
    """As llama.cpp's converter writes it: two rows of the output matrix and a template."""
    path = folder / "ranker.gguf"
    writer = gguf.GGUFWriter(path, "qwen3")
    toy._write_llama_keys(writer)
    writer.add_block_count(1)
    writer.add_key_length(toy.HEAD)
    writer.add_value_length(toy.HEAD)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_classifier_output_labels(LABELS)
    vocabulary = toy._vocabulary()
    toy._write_vocabulary(writer, vocabulary)
    writer.add_chat_template([{"name": "rerank", "template": TEMPLATE}])
    weights = _weights(vocabulary.ids[MARK], len(vocabulary.tokens))
    weights["lm_head.weight"] = np.zeros_like(weights["model.embed_tokens.weight"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, 1)
    for name, values in weights.items():
        target = names.get_name(name, try_suffixes=(".weight",))
        assert target is not None, name
        writer.add_tensor(target, values)
    writer.add_tensor("cls.output.weight", _head())
    toy._finish(writer)
    return path


def make_mlx(folder: Path) -> Path:
    """As it is published: a Qwen3 that only its name tells from others."""
    vocabulary = toy._vocabulary()
    tokens = len(vocabulary.tokens)
    weights = _weights(vocabulary.ids[MARK], tokens + 32)
    output = np.zeros((tokens + 32, toy.HIDDEN), np.float32)
    toy._write_mlx(folder, {}, vocabulary)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(LABELS)
    tokenizer.save(str(folder / "tokenizer.json"))
    for label, row in zip(LABELS, _head(), strict=True):
        output[tokenizer.token_to_id(label)] = row
    save_file({**weights, "lm_head.weight": output}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "qwen3", "num_hidden_layers": 1, "vocab_size": tokens + 32}
    toy._write_json(folder / "config.json", config)
    return folder


def _normed(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    normed: NDArray[np.float64] = vector / np.sqrt((vector**2).mean() + 1e-5)
    return normed


def _head() -> NDArray[np.float32]:
    """[2, hidden]: the rows of `yes` and `no`."""
    rows = np.zeros((2, toy.HIDDEN), np.float32)
    rows[0, _SHARE], rows[1, _PLAIN] = _YES, _NO
    return rows


def _weights(mark: int, vocab: int) -> toy.Weights:
    """Nothing but a value that goes from `MARK` through the first head to `_SHARE`."""
    weights = {
        "model.embed_tokens.weight": np.zeros((vocab, toy.HIDDEN), np.float32),
        "model.norm.weight": np.ones(toy.HIDDEN, np.float32),
    }
    embeddings = weights["model.embed_tokens.weight"]
    embeddings[:, _PLAIN] = 1
    embeddings[mark] = np.eye(toy.HIDDEN, dtype=np.float32)[_MARKED]
    heads, few, wide = toy.HEADS * toy.HEAD, toy.KV_HEADS * toy.HEAD, toy.FEED_FORWARD
    for name, rows, columns in (
        ("self_attn.q_proj", heads, toy.HIDDEN),
        ("self_attn.k_proj", few, toy.HIDDEN),
        ("self_attn.v_proj", few, toy.HIDDEN),
        ("self_attn.o_proj", toy.HIDDEN, heads),
        ("mlp.gate_proj", wide, toy.HIDDEN),
        ("mlp.up_proj", wide, toy.HIDDEN),
        ("mlp.down_proj", toy.HIDDEN, wide),
    ):
        weights[f"model.layers.0.{name}.weight"] = np.zeros((rows, columns), np.float32)
    weights["model.layers.0.self_attn.v_proj.weight"][0, _MARKED] = 1
    weights["model.layers.0.self_attn.o_proj.weight"][_SHARE, 0] = 1
    for name in ("input_layernorm", "post_attention_layernorm"):
        weights[f"model.layers.0.{name}.weight"] = np.ones(toy.HIDDEN, np.float32)
    for name in ("q_norm", "k_norm"):
        weights[f"model.layers.0.self_attn.{name}.weight"] = np.ones(toy.HEAD, np.float32)
    return weights

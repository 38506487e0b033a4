"""Where GGUF and Hugging Face keep the same weights differently: in another order, or shifted.

A transform gets one array of a tensor at a time: the numbers of a dense one, or the packed words,
the scales or the biases of a quantised one.  So it moves whole rows, or whole groups of columns.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ollmlx.convert.decoder import Config

Array = NDArray[Any]
Transform = Callable[[Config, str, Array], Array]
"""Configuration, name of the GGUF tensor, one of its arrays; the array as MLX wants it."""

QUERY_OR_KEY = re.compile(r"^blk\.\d+\.attn_([qk])\.(weight|bias)$")


def halved(config: Config, tensor: str, array: Array) -> Array:
    """Queries and keys: llama.cpp turns neighbouring rows of a head, MLX the two halves of it."""
    if not (found := QUERY_OR_KEY.match(tensor)):
        return array
    heads = config["num_attention_heads" if found[1] == "q" else "num_key_value_heads"]
    pairs = array.reshape(heads, -1, 2, *array.shape[1:])
    return pairs.swapaxes(1, 2).reshape(array.shape)


def interleaved(array: Any, heads: int) -> Any:
    """`halved` the other way round, of rows of so many heads; numpy's array or MLX's."""
    return array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def norm_from_zero(config: Config, tensor: str, array: Array) -> Array:
    """llama.cpp's norms multiply by `weight`, these classes by `1 + weight`."""
    return array - 1.0 if tensor.endswith("norm.weight") else array


def grouped_heads(config: Config, tensor: str, array: Array) -> Array:
    """Qwen 3.5's value heads: key head by key head, where llama.cpp goes round the key heads."""
    keys, width = config["linear_num_key_heads"], config["linear_value_head_dim"]
    turns = config["linear_num_value_heads"] // keys
    match tensor.split(".", 2)[-1]:
        case "ssm_a":
            return _regroup(np.log(-array), turns, keys, 1)
        case "ssm_dt.bias" | "ssm_alpha.weight" | "ssm_beta.weight":
            return _regroup(array, turns, keys, 1)
        case "attn_gate.weight":
            return _regroup(array, turns, keys, width)
        case "attn_qkv.weight" | "ssm_conv1d.weight":
            split = 2 * config["linear_key_head_dim"] * keys
            return np.concatenate([array[:split], _regroup(array[split:], turns, keys, width)])
        case "ssm_out.weight":
            heads = array.reshape(len(array), turns, keys, -1)
            return heads.swapaxes(1, 2).reshape(array.shape)
    return array


def _regroup(array: Array, turns: int, keys: int, width: int) -> Array:
    """Rows as `turns` times `keys` heads of `width` rows, to `keys` times `turns`."""
    heads = array.reshape(turns, keys, width, *array.shape[1:])
    return heads.swapaxes(0, 1).reshape(array.shape)

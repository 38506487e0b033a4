"""On NVIDIA only: flat quantised products, and kernels compiled while the model loads.

MLX 0.32 multiplies `[B, 1, K]` as B products of one row, each reading all weights; as `[B, K]` it
is one product with equal bits (measured on an H200, 4 bits: at 8 B parameters 5.7 times faster with
64 rows, at 1 B twice with 32, the same up to 8).  May go once MLX flattens by itself.
"""

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import make_prompt_cache

from ollmlx.engine.jobs import Sampling
from ollmlx.engine.mlx.sampling import Draw, draw

_TILES = (8, 32)
"""Rows that a batch must have for another of MLX's matrix kernels; a prompt needs the last one."""


def _rows(x: mx.array) -> mx.array:
    """`[B, 1, K]` → `[B, K]`; anything else as it is."""
    return x.squeeze(1) if x.ndim == 3 and x.shape[1] == 1 and x.shape[0] > 1 else x


class _FlatLinear(nn.QuantizedLinear):  # type: ignore[misc]  # mlx has no type information
    def __call__(self, x: mx.array) -> mx.array:
        y: mx.array = super().__call__(_rows(x))
        return y.reshape(*x.shape[:-1], y.shape[-1])


class _FlatEmbedding(nn.QuantizedEmbedding):  # type: ignore[misc]  # as above
    def as_linear(self, x: mx.array) -> mx.array:
        y: mx.array = super().as_linear(_rows(x))
        return y.reshape(*x.shape[:-1], y.shape[-1])


def flatten_rows(model: nn.Module) -> None:
    """Give the model's quantised layers the flat product; weights stay where they are."""
    flat = {nn.QuantizedLinear: _FlatLinear, nn.QuantizedEmbedding: _FlatEmbedding}
    for module in model.modules():
        if type(module) in flat:
            module.__class__ = flat[type(module)]


def warm(model: nn.Module, num_vocab: int, num_parallel: int) -> None:
    """Compile what would hold up running answers later.

    Half a minute a kernel the first time and nothing afterwards: they are kept on disk.
    """
    for rows in _TILES:
        if rows <= num_parallel:
            mx.eval(model(mx.zeros((rows, 1), mx.int32), cache=make_prompt_cache(model)))
    for rows in {1, num_parallel}:
        mx.eval(draw([Draw(Sampling())] * rows, mx.zeros((rows, num_vocab))))

"""Adapters of DoRA's kind, settled: their magnitudes are multiplied into the weights once.

mlx-lm finds the norm of every adapted row anew for each token.
Source: https://arxiv.org/abs/2402.09353.
"""

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten
from mlx_lm.tuner.dora import DoRALinear
from mlx_lm.tuner.lora import LoRALinear


def settle(model: nn.Module) -> None:
    """Make plain LoRA of the model's DoRA, where its weights can be multiplied by rows."""
    settled = [
        (name, _settled(module))
        for name, module in model.named_modules()
        if isinstance(module, DoRALinear) and getattr(module.linear, "mode", "affine") == "affine"
    ]
    if settled:
        model.update_modules(tree_unflatten(settled))


def _settled(dora: DoRALinear) -> LoRALinear:
    """Outputs are `m / |W + s (A B)^T|` times those of LoRA, but for the bias."""
    adapted = dora._dequantized_weight() + (dora.scale * dora.lora_b.T) @ dora.lora_a.T
    factor = dora.m / mx.linalg.norm(adapted.astype(mx.float32), axis=1)
    linear = dora.linear
    for part in ("scales", "biases") if "scales" in linear else ("weight",):
        linear[part] = (linear[part] * factor[:, None]).astype(linear[part].dtype)
    lora = LoRALinear.from_base(linear, r=dora.lora_a.shape[1], scale=dora.scale)
    lora.lora_a, lora.lora_b = dora.lora_a, dora.lora_b * factor
    return lora

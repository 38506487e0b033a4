"""Settled DoRA answers what mlx-lm's own answers."""

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx_lm.tuner.dora import DoRALinear

from ollmlx.engine.mlx.dora import settle


@pytest.mark.parametrize("mode", ["", "affine", "mxfp4"])
def test_a_layer_answers_as_before(mode: str) -> None:
    mx.random.seed(1)
    linear = nn.Linear(64, 32, bias=True)
    if mode:
        linear = linear.to_quantized(group_size=32, bits=4, mode=mode)
    dora = DoRALinear.from_base(linear, r=4, scale=2.0)
    dora.lora_b = mx.random.normal(dora.lora_b.shape)
    dora.m = mx.random.uniform(0.5, 2, dora.m.shape)
    model = nn.Sequential(dora)
    model.eval()
    inputs = mx.random.normal((5, 64))
    expected = model(inputs)
    mx.eval(expected)  # before its weights change
    settle(model)
    # Rows of what has no scales but powers of two cannot be multiplied.
    assert isinstance(model.layers[0], DoRALinear) == (mode == "mxfp4")
    assert mx.allclose(model(inputs), expected, atol=1e-4)

import asyncio
from pathlib import Path

import numpy as np
import pytest

from ollmlx.convert import convert
from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.verification import compare, difference
from tests.toy import ToyModels


async def test_a_model_converted_without_loss_expects_the_same(toy: ToyModels, tmp_path: Path):
    target = tmp_path / "mlx"
    await asyncio.to_thread(convert, toy.gguf, target, dtype="float32")
    found = await difference(toy.gguf, target)
    assert found is not None
    assert found.divergence < 1e-5
    assert found.agreement == 1
    assert "100% of the likeliest agree" in str(found)


async def test_a_model_that_lost_precision_is_some_way_off(toy: ToyModels):
    found = await difference(toy.mlx, toy.gguf_q8)
    assert found is not None
    assert 1e-7 < found.divergence < 0.1


def test_another_model_is_far_away():
    random = np.random.default_rng(0)
    left, right = random.normal(0, 4, (2, 16, 100)).astype(np.float32)
    assert compare(left, right).divergence > 1
    assert compare(left, left).divergence == 0


def test_logits_that_are_no_numbers_are_an_error():
    good, bad = np.zeros((2, 4)), np.full((2, 4), np.nan)
    with pytest.raises(NotConvertible, match="no number"):
        compare(good, bad)

"""Our penalties against llama.cpp's own sampler, on rows of random logits."""

import ctypes

import numpy as np
import pytest
from llama_cpp import llama_cpp as llama
from numpy.typing import NDArray

from ollmlx.engine.jobs import Generate, Sampling
from ollmlx.engine.llama.sampler import Penalties, likeliest

VOCAB = 100
SAID = [5, 6, 5, 7, 5, 8, 9, 6]


def bent_by_llama(
    logits: NDArray[np.float32], sampling: Sampling, look_back: int
) -> NDArray[np.float32]:
    sampler = llama.llama_sampler_init_penalties(
        VOCAB,
        look_back,
        sampling.repeat_penalty,
        sampling.frequency_penalty,
        sampling.presence_penalty,
    )
    for token in SAID:
        llama.llama_sampler_accept(sampler, token)
    data = (llama.llama_token_data * VOCAB)(
        *[llama.llama_token_data(id=t, logit=float(logits[t]), p=0.0) for t in range(VOCAB)]
    )
    array = llama.llama_token_data_array(data=data, size=VOCAB, selected=-1, sorted=False)
    llama.llama_sampler_apply(sampler, ctypes.byref(array))
    llama.llama_sampler_free(sampler)
    return np.array([data[token].logit for token in range(VOCAB)], np.float32)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(repeat_penalty=1.3),
        Sampling(repeat_penalty=0.7),
        Sampling(presence_penalty=0.6),
        Sampling(frequency_penalty=0.4),
        Sampling(repeat_penalty=1.1, presence_penalty=-0.5, frequency_penalty=0.3),
        Sampling(repeat_penalty=1.1, frequency_penalty=0.3, repeat_last_n=4),
        Sampling(repeat_penalty=1.1, frequency_penalty=0.3, repeat_last_n=-1),
    ],
)
def test_penalties_bend_as_llama_cpps_do(sampling: Sampling) -> None:
    logits = np.random.default_rng(0).standard_normal(VOCAB).astype(np.float32) * 3
    look_back = 16 if sampling.repeat_last_n < 0 else sampling.repeat_last_n
    expected = bent_by_llama(logits, sampling, look_back)
    penalties = Penalties.of(Generate(1, SAID[:5], 1, sampling), num_ctx=16)
    assert penalties is not None
    for token in SAID[5:]:
        penalties.see(token)
    penalties.apply(logits)
    assert np.allclose(logits, expected, rtol=1e-6)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(repeat_penalty=2, repeat_last_n=0)])
def test_penalties_that_are_off_cost_nothing(sampling: Sampling) -> None:
    assert Penalties.of(Generate(1, SAID, 1, sampling), num_ctx=16) is None


@pytest.mark.parametrize(("size", "count"), [(352, 40), (49152, 40), (49152, 1), (50, 49), (7, 3)])
def test_the_likeliest_are_among_the_candidates(size: int, count: int) -> None:
    random = np.random.default_rng(size)
    for logits in (random.normal(size=size), random.integers(0, 3, size).astype(float)):
        row = logits.astype(np.float32)
        row[random.integers(0, size, size // 10)] = -np.inf
        best = np.argsort(-row, kind="stable")[:count]
        assert set(row[best]) <= set(row[likeliest(row, count)])
        assert len(likeliest(row, count)) >= count

"""A cross-encoder's scores, against the vectors they are made of."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from ollmlx.engine.jobs import Embed, LoadOptions, Ranking
from ollmlx.engine.llama.backend import LlamaCppBackend
from tests.bert import HEAD, SPECIAL, make_toy_ranker
from tests.engine.answers import drive

CLS, SEP = SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]")


def opened(path: Path) -> LlamaCppBackend:
    options = LoadOptions(num_ctx=64, num_thread=1)
    return LlamaCppBackend(str(path), options, lambda fraction: None)


def vectors(backend: LlamaCppBackend, inputs: list[list[int]]) -> np.ndarray:
    backend.embed(Embed(1, inputs))
    embedded = drive(backend)[1].embedded
    assert embedded
    return np.frombuffer(embedded.vectors, "<f4").reshape(len(inputs), -1)


def test_a_score_is_made_of_the_first_tokens_vector(tmp_path: Path) -> None:
    ranker = opened(make_toy_ranker(tmp_path))
    assert ranker.info.ranking == Ranking([CLS], [SEP], [SEP])
    query, *documents = (ranker.tokenize(t, False) for t in ("cat", "the cat sat", "paris france"))
    pairs = [[CLS, *query, SEP, *document, SEP] for document in documents]
    scores = vectors(ranker, pairs)
    ranker.close()
    encoder = opened(make_toy_ranker(tmp_path, gguf.PoolingType.CLS))
    assert encoder.info.ranking is None
    weight, bias = HEAD.values()
    expected = vectors(encoder, pairs) @ weight.T + bias
    encoder.close()
    assert scores == pytest.approx(expected, abs=1e-4)
    assert abs(expected[0] - expected[1]) > 0.01

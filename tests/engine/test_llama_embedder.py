"""Vectors are compared with the library's own, and with themselves in other batches."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from llama_cpp import LLAMA_POOLING_TYPE_MEAN, Llama, llama_cpp
from numpy.typing import NDArray

from ollmlx.engine.jobs import Embed, Embedded, Generate
from ollmlx.engine.llama.backend import LlamaCppBackend
from tests.engine.answers import GREEDY, answer, drive
from tests.toy import ToyModels

Open = Callable[..., LlamaCppBackend]
TEXTS = ["hello", "how are you", "the cat sat on the mat and looked at me", "a"]


@pytest.fixture
def opened(llama: Open) -> Open:
    return partial(llama, num_ctx=256)


def vectors(backend: LlamaCppBackend, inputs: list[list[int]]) -> NDArray[np.float32]:
    backend.embed(Embed(1, inputs))
    embedded = drive(backend)[1].embedded
    assert embedded is not None
    rows = np.frombuffer(embedded.vectors, "<f4").reshape(len(inputs), embedded.dimensions)
    return rows.astype(np.float32)


def library_vectors(path: Path, texts: list[str]) -> NDArray[np.float32]:
    library = Llama(
        str(path), n_ctx=256, embedding=True, pooling_type=LLAMA_POOLING_TYPE_MEAN, verbose=False
    )
    rows = [library.embed(text, normalize=False) for text in texts]
    library.close()
    return np.array(rows, np.float32)


@pytest.fixture(params=["generative", "bert"])
def path(request: pytest.FixtureRequest, toy: ToyModels, toy_bert: Path) -> Path:
    return toy.gguf if request.param == "generative" else toy_bert


def test_vectors_are_the_librarys_own(opened: Open, path: Path) -> None:
    backend = opened(path)
    inputs = [backend.tokenize(text, True) for text in TEXTS]
    assert np.allclose(vectors(backend, inputs), library_vectors(path, TEXTS), atol=5e-3)


def test_texts_in_one_batch_do_not_see_each_other(opened: Open, path: Path) -> None:
    backend = opened(path)
    inputs = [backend.tokenize(text, True) for text in TEXTS]
    alone = np.concatenate([vectors(backend, [tokens]) for tokens in inputs])
    assert np.allclose(vectors(backend, inputs), alone, atol=5e-3)


def test_more_texts_than_a_batch_holds_come_out_in_order(opened: Open, path: Path) -> None:
    backend = opened(path, num_ctx=64)
    inputs = [backend.tokenize(TEXTS[number % 4], True) for number in range(70)]
    rows = vectors(backend, inputs)
    assert np.allclose(rows, rows[np.arange(70) % 4], atol=5e-3)


def test_a_text_longer_than_a_batch_is_the_same(opened: Open, path: Path) -> None:
    long, short = opened(path), opened(path, num_batch=1)
    inputs = [long.tokenize(" ".join(TEXTS * 4), True), long.tokenize("a", True)]
    assert len(inputs[0]) > 2 * 32  # the least a batch may hold
    assert np.allclose(vectors(short, inputs), vectors(long, inputs), atol=5e-3)


def test_a_text_as_long_as_the_window_fits_and_a_longer_one_is_refused(
    opened: Open, path: Path
) -> None:
    backend = opened(path)
    assert vectors(backend, [[5] * 256]).any()
    backend.embed(Embed(2, [[5] * 257]))
    failed = drive(backend)[2].failed
    assert failed is not None
    assert (failed.status, failed.reason) == (400, "the input length exceeds the context length")


def test_a_text_without_tokens_is_zeros(opened: Open, path: Path) -> None:
    rows = vectors(opened(path), [[], [5, 6]])
    assert not rows[0].any()
    assert rows[1].any()


def test_ids_that_are_no_tokens_are_refused(opened: Open, path: Path) -> None:
    backend = opened(path)
    backend.embed(Embed(1, [[10_000]]))
    failed = drive(backend)[1].failed
    assert failed is not None
    assert failed.status == 400


def test_a_cancelled_job_is_forgotten_between_its_batches(opened: Open, toy: ToyModels) -> None:
    backend = opened(toy.gguf, num_batch=1)
    backend.embed(Embed(1, [[5] * 100]))
    backend.step()
    backend.cancel(1)
    assert not backend.busy
    fresh = opened(toy.gguf)
    assert np.allclose(vectors(backend, [[7] * 50]), vectors(fresh, [[7] * 50]), atol=5e-3)


def test_an_embedding_model_refuses_to_generate(opened: Open, toy_bert: Path) -> None:
    backend = opened(toy_bert)
    assert not backend.info.can_generate
    failed = answer(backend, Generate(1, [5, 6], 5, GREEDY)).failed
    assert failed is not None
    assert failed.status == 400


def test_the_cache_of_a_chat_model_is_as_large_as_its_texts_and_a_large_one_goes_with_them(
    opened: Open, toy: ToyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, made = list[int](), llama_cpp.llama_init_from_model
    backend = opened(toy.gguf, num_ctx=2048)
    alone = vectors(backend, [[5] * 1900])

    def init(model: object, params: llama_cpp.llama_context_params) -> object:
        sizes.append(params.n_ctx)
        return made(model, params)

    # What a context takes, llama.cpp tells nobody.
    monkeypatch.setattr(llama_cpp, "llama_init_from_model", init)
    assert not vectors(backend, [[]]).any()
    vectors(backend, [[7] * 40, [8] * 20])
    vectors(backend, [[9] * 60])
    # The longer one comes while a text is half done.
    backend.embed(Embed(1, [[6] * 600]))
    backend.step()
    backend.embed(Embed(2, [[5] * 1900]))
    outcomes = drive(backend)
    assert outcomes[2].embedded
    assert np.allclose(np.frombuffer(outcomes[2].embedded.vectors, "<f4"), alone[0], atol=5e-3)
    vectors(backend, [[7] * 40])
    assert sizes == [32, 60, 600, 1900, 40]


def test_a_cache_that_has_no_memory_fails_its_texts_and_no_others(
    opened: Open, toy: ToyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, made = opened(toy.gguf), llama_cpp.llama_init_from_model
    # A machine without memory would fail other tests.
    monkeypatch.setattr(llama_cpp, "llama_init_from_model", lambda *_: None)
    backend.embed(Embed(1, [[5] * 9]))
    backend.embed(Embed(2, [[]]))
    for answered in drive(backend).values():
        assert answered.failed is not None
        assert answered.failed.status == 500
    monkeypatch.setattr(llama_cpp, "llama_init_from_model", made)
    assert vectors(backend, [[5] * 9]).any()


def test_a_long_text_is_read_in_pieces_beside_an_answer_that_is_written(
    opened: Open, toy: ToyModels
) -> None:
    backend = opened(toy.gguf, num_ctx=2048)
    alone = vectors(backend, [[5] * 1000])
    backend.submit(Generate(1, [5, 6], 1000, GREEDY))
    backend.step()
    backend.embed(Embed(2, [[5] * 1000]))
    steps, embedded = 0, list[Embedded]()
    while not embedded:
        backend._pace.cost = 1.0  # a slow machine
        embedded = [event for event in backend.step() if isinstance(event, Embedded)]
        steps += 1
    assert steps == 1000 // 64 + 1
    assert np.allclose(np.frombuffer(embedded[0].vectors, "<f4"), alone[0], atol=5e-3)


def test_an_embedding_models_threads_follow_what_its_steps_took(
    opened: Open, toy_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, used = opened(toy_bert), list[int]()
    # How many threads are best, another machine would say otherwise.
    monkeypatch.setattr(backend._threads, "choose", lambda tokens: 3)
    monkeypatch.setattr(llama_cpp, "llama_set_n_threads", lambda *counts: used.append(counts[1]))
    vectors(backend, [[5] * 9])
    assert used == [3]


def test_what_sees_texts_whole_has_room_for_one_batch(opened: Open, toy_bert: Path) -> None:
    embedder = opened(toy_bert)._embedder
    assert embedder is not None
    assert embedder._context is not None
    assert llama_cpp.llama_n_ctx(embedder._context.handle) == 256

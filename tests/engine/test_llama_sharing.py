"""Answers that share a cache which is too small for all of them: each is written as it is alone."""

from collections.abc import Callable
from functools import partial

import pytest

from ollmlx.engine.jobs import Generate
from ollmlx.engine.llama.backend import LlamaCppBackend
from ollmlx.engine.llama.scheduler import Scheduler
from tests.engine.answers import GREEDY, Answer, answer, drive
from tests.engine.test_llama_cache import ENDLESS, words
from tests.toy import ToyModels

Open = Callable[..., LlamaCppBackend]


@pytest.fixture
def opened(llama: Open, toy: ToyModels) -> Open:
    return partial(llama, toy.gguf, num_ctx=256, num_parallel=4, num_cells=256)


def story(number: int, tokens: int = 120) -> Generate:
    """Thirty tokens and a story that does not end by itself."""
    return Generate(number, words(number, 30), tokens, GREEDY, grammar=ENDLESS)


def scheduler(backend: LlamaCppBackend) -> Scheduler:
    assert backend._scheduler is not None
    return backend._scheduler


def until_suspended(backend: LlamaCppBackend) -> dict[int, Answer]:
    answers: dict[int, Answer] = {}
    while not scheduler(backend)._suspended:
        for event in backend.step():
            answers.setdefault(event.id, Answer()).add(event)
    return answers


def test_answers_that_outgrow_the_cache_wait_and_are_written_as_alone(opened: Open) -> None:
    backend, alone = opened(), opened(num_parallel=1)
    for number in range(6):
        backend.submit(story(number))
    began = until_suspended(backend)
    assert len(began) == 4  # side by side, as long as they are short
    rest = drive(backend)
    for number in range(6):
        whole = began.get(number, Answer()).tokens + rest[number].tokens
        assert len(whole) == 120
        # Cells lie in another order, and a near tie may fall to the other side some day.
        assert whole[:80] == answer(alone, story(number)).tokens[:80]


def test_a_prompt_that_has_no_room_beside_others_waits_for_them(opened: Open) -> None:
    backend = opened()
    backend.submit(story(1, tokens=20))
    backend.submit(Generate(2, words(2, 230), 5, GREEDY))
    backend.step()
    assert len(scheduler(backend)._runs) == 1
    answers = drive(backend)
    assert [len(answers[number].tokens) for number in (1, 2)] == [19, 5]


def test_an_answer_that_waits_for_cells_can_be_cancelled(opened: Open) -> None:
    backend = opened()
    for number in range(4):
        backend.submit(story(number))
    until_suspended(backend)
    (waiting,) = scheduler(backend)._suspended
    backend.cancel(waiting.job.id)
    assert sorted(drive(backend)) == sorted({0, 1, 2, 3} - {waiting.job.id})


def test_a_model_can_be_unloaded_while_an_answer_waits_for_cells(opened: Open) -> None:
    backend = opened()
    for number in range(4):
        backend.submit(story(number))
    until_suspended(backend)
    scheduler(backend).close()
    assert not backend.busy


def test_no_more_cells_are_taken_than_all_windows_have(opened: Open) -> None:
    assert scheduler(opened(num_parallel=2, num_cells=99999))._cache.cells == 512
    assert scheduler(opened(num_parallel=2, num_cells=100))._cache.cells == 256

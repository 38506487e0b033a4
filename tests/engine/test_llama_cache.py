"""What a prompt starts from: the same answer always, with as little computed as can be."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import psutil
import pytest
from llama_cpp import llama_cpp as llama

from ollmlx.engine.jobs import Generate
from ollmlx.engine.llama.backend import LlamaCppBackend
from ollmlx.engine.llama.parking import Held, worth_saving
from tests.engine.answers import GREEDY, answer, cached, drive
from tests.toy import ToyModels

Open = Callable[..., LlamaCppBackend]
ENDLESS = "start: /[a-z ]{5000}/"
"""Any words, without an end."""


@pytest.fixture
def opened(llama: Open, toy: ToyModels, saving: None) -> Open:
    return partial(llama, toy.gguf)


def words(seed: int, count: int) -> list[int]:
    """Tokens of no meaning, different for each seed from the first on."""
    return [(seed * 31 + number * 17) % 250 + 1 for number in range(count)]


def test_the_second_turn_of_a_chat_computes_only_what_is_new(opened: Open) -> None:
    backend, fresh = opened(), opened()
    first = answer(backend, Generate(1, words(1, 100), 20, GREEDY))
    turn = words(1, 100) + first.tokens + words(2, 30)
    second = answer(backend, Generate(2, turn, 20, GREEDY))
    # The last token of an answer is chosen but never decoded.
    assert cached(second) == 100 + len(first.tokens) - 1
    assert second.tokens == answer(fresh, Generate(1, turn, 20, GREEDY)).tokens


def test_two_chats_keep_their_beginnings_with_one_place_to_run(opened: Open) -> None:
    backend = opened()
    for turn in (100, 130, 160):
        for chat in (1, 2):
            result = answer(backend, Generate(chat, words(chat, turn), 5, GREEDY))
            assert cached(result) >= (0 if turn == 100 else turn - 30)


def test_finished_answers_do_not_lie_in_the_cells_that_running_ones_walk_over(
    opened: Open,
) -> None:
    backend = opened(num_ctx=1024, num_parallel=4)
    for chat in range(4):
        answer(backend, Generate(chat, words(chat, 200), 5, GREEDY))
    backend.submit(Generate(9, words(9, 20), 5, GREEDY))
    backend.step()
    assert backend._scheduler is not None
    held = [len(s.tokens) for s in backend._scheduler._cache._sequences]
    assert sum(held) == 20
    drive(backend)
    assert cached(answer(backend, Generate(5, [*words(2, 200), 7], 5, GREEDY))) >= 200


@pytest.mark.parametrize(
    ("ends", "held", "saving", "worth"),
    [
        ([100], 0, 25, 100),
        ([100], 60, 25, 0),
        ([100], 0, 100, 0),
        ([100, 101, 102, 103], 0, 25, 100),
        ([100, 101, 102, 300], 0, 25, 300),
        ([100, 101, 102, 103], 0, 0, 103),
        ([100, 101, 102, 103], 103, 0, 0),
    ],
)
def test_what_is_read_again_sooner_than_saved_is_not_saved(
    ends: list[int], held: int, saving: float, worth: int
) -> None:
    assert worth_saving(ends, held, lambda pieces: pieces * saving, reading=1) == worth


def test_of_rows_that_begin_alike_only_one_is_saved(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, start = opened(num_parallel=4), words(1, 100)
    assert backend._scheduler is not None
    cache = backend._scheduler._cache
    # As on a GPU, where copies are slow.
    monkeypatch.setattr(cache._parking, "seconds", lambda pieces: 25 * pieces * cache.pace.cost)
    answer(backend, Generate(0, start + words(0, 10), 5, GREEDY))
    for row in range(1, 13):
        backend.submit(Generate(row, start + words(row, 10), 5 + row % 3, GREEDY))
    assert {cached(row) for row in drive(backend).values()} == {100}
    assert len(cache._parking.parked) <= 1


def test_where_saving_is_slow_answers_written_side_by_side_keep_their_prompts(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, fresh = opened(num_parallel=2), opened()
    for chat in (11, 12):
        backend.submit(Generate(chat, words(chat, 100), 20, GREEDY))
    first = drive(backend)[11]
    assert backend._scheduler is not None
    cache = backend._scheduler._cache
    # As on a GPU, where copies are slow.
    monkeypatch.setattr(cache._parking, "seconds", lambda pieces: 25 * pieces * cache.pace.cost)
    answer(backend, Generate(3, words(13, 20), 5, GREEDY))
    assert min(len(parked.tokens) for parked in cache._parking.parked) == 100
    turn = words(11, 100) + first.tokens + words(14, 10)
    second = answer(backend, Generate(4, turn, 20, GREEDY))
    assert cached(second) >= 100
    assert second.tokens == answer(fresh, Generate(1, turn, 20, GREEDY)).tokens


def test_no_prompt_is_held_against_more_than_a_few_copies(opened: Open) -> None:
    backend = opened()
    assert backend._scheduler is not None
    for chat in range(70):
        answer(backend, Generate(chat, words(chat, 5), 1, GREEDY))
    assert len(backend._scheduler._cache._parking.parked) == 64


def test_copies_take_an_eighth_of_the_memory_and_the_oldest_go_first(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = opened()
    assert backend._scheduler is not None
    parking = backend._scheduler._cache._parking

    def held() -> list[int]:
        return [copy.tokens[0] for copy in parking.parked]

    for chat in range(4):
        answer(backend, Generate(chat, words(chat, 100), 1, GREEDY))
    assert held() == [words(chat, 1)[0] for chat in range(3)]
    size = len(parking.parked[0].state)
    memory = SimpleNamespace(total=8 * 3 * size, available=(1 << 30) + size)
    # Of this machine's memory an eighth is more than a toy can hold.
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    answer(backend, Generate(4, words(4, 100), 1, GREEDY))
    assert held() == [words(chat, 1)[0] for chat in (1, 2, 3)]
    memory.available -= 1
    answer(backend, Generate(5, words(5, 100), 1, GREEDY))
    assert not held()


def test_a_common_beginning_is_taken_from_an_answer_still_running(opened: Open) -> None:
    backend, fresh = opened(num_parallel=2), opened()
    start = words(1, 100)
    backend.submit(Generate(1, start + words(2, 10), 60, GREEDY))
    for _ in range(5):
        backend.step()
    backend.submit(Generate(2, start + words(3, 10), 60, GREEDY))
    copied = drive(backend)[2]
    assert cached(copied) == 100
    alone = answer(fresh, Generate(2, start + words(3, 10), 60, GREEDY))
    assert copied.tokens == alone.tokens


def test_a_short_common_beginning_does_not_cost_another_chat_its_history(opened: Open) -> None:
    backend = opened()
    system, chat = words(1, 20), words(2, 200)
    answer(backend, Generate(1, system + chat, 5, GREEDY))
    assert cached(answer(backend, Generate(2, system + words(3, 50), 5, GREEDY))) == 20
    assert cached(answer(backend, Generate(3, system + chat + words(4, 5), 5, GREEDY))) >= 220


def test_a_short_common_beginning_takes_no_more_cells_than_it_has(opened: Open) -> None:
    backend = opened(num_ctx=1024, num_parallel=2)
    assert backend._scheduler is not None
    cache = backend._scheduler._cache
    answer(backend, Generate(1, words(1, 200), 5, GREEDY))
    backend.submit(Generate(2, words(2, 20), 60, GREEDY))
    backend.step()
    assert [len(copy.tokens) for copy in cache._parking.parked] == [204]
    backend.submit(Generate(3, words(1, 20) + words(3, 20), 5, GREEDY))
    backend.step()
    assert llama.llama_memory_seq_pos_max(cache._memory, cache._remains) == -1
    assert cached(drive(backend)[3]) == 20


def test_the_oldest_history_goes_when_cells_are_short(opened: Open) -> None:
    backend, fresh = opened(num_ctx=512), opened(num_ctx=512)
    for chat in range(1, 5):  # four times 150 tokens are more than there are cells
        answer(backend, Generate(chat, words(chat, 150), 5, GREEDY))
    assert cached(answer(backend, Generate(5, [*words(4, 150), 7], 5, GREEDY))) >= 150
    assert cached(answer(backend, Generate(6, [*words(3, 150), 7], 5, GREEDY))) >= 150
    oldest = answer(backend, Generate(7, words(1, 150), 5, GREEDY))
    assert cached(oldest) == 0
    assert oldest.tokens == answer(fresh, Generate(7, words(1, 150), 5, GREEDY)).tokens


def test_full_windows_of_all_places_fit_at_once(opened: Open) -> None:
    backend = opened(num_ctx=256, num_parallel=3)
    for chat in range(12):
        backend.submit(Generate(chat, words(chat, 250), 6, GREEDY))
    assert [one.finish for one in drive(backend).values()] == ["length"] * 12


def test_a_cancelled_prompt_leaves_what_it_computed(opened: Open) -> None:
    backend = opened(num_ctx=1024)
    backend.submit(Generate(1, words(1, 900), 5, GREEDY))
    backend.step()
    backend.cancel(1)
    assert not backend.busy
    assert cached(answer(backend, Generate(2, words(1, 900), 5, GREEDY))) == 512


def test_after_a_shift_only_the_kept_beginning_is_used_again(opened: Open) -> None:
    backend, fresh = opened(num_ctx=256), opened(num_ctx=256)
    job = Generate(1, words(1, 60), 220, GREEDY, grammar=ENDLESS, num_keep=40)
    everything = words(1, 60) + answer(backend, job).tokens
    assert len(everything) == 280
    left = Generate(2, everything[:40] + everything[148:], 20, GREEDY)
    result = answer(backend, left)
    assert cached(result) == 40
    assert result.tokens == answer(fresh, left).tokens


def test_a_shift_does_not_move_the_cells_of_a_neighbour(opened: Open) -> None:
    backend, fresh = opened(num_ctx=256, num_parallel=2), opened(num_ctx=256)
    start = words(1, 150)
    backend.submit(Generate(1, start, 300, GREEDY, grammar=ENDLESS, num_keep=4))
    written = [token for _ in range(60) for event in backend.step() for token in event.tokens]
    # The window of the first is full, and half of it goes, in the middle of the second's answer.
    neighbour = Generate(2, [*start, 9], 100, GREEDY, grammar=ENDLESS)
    backend.submit(neighbour)
    answers = drive(backend)
    assert cached(answers[2]) == 150
    assert answers[2].tokens == answer(fresh, neighbour).tokens
    # The first had to read again what it kept, so it goes on as from a fresh prompt.
    left = [*start, *written, *answers[1].tokens][:257]
    again = Generate(3, left[:4] + left[130:], 50, GREEDY, grammar=ENDLESS)
    assert answers[1].tokens[107 - len(written) :][:50] == answer(fresh, again).tokens


def test_a_shift_does_not_move_the_cells_of_a_finished_answer(opened: Open) -> None:
    backend, fresh = opened(num_ctx=256, num_parallel=2), opened(num_ctx=256)
    start = words(1, 200)
    backend.submit(Generate(1, start, 20, GREEDY))
    backend.step()
    backend.submit(Generate(2, [*start, 9], 100, GREEDY, grammar=ENDLESS, num_keep=4))
    assert cached(drive(backend)[2]) == 200
    again = answer(backend, Generate(3, start, 20, GREEDY))
    assert cached(again) == 130  # what lay before the moved half
    assert again.tokens == answer(fresh, Generate(3, start, 20, GREEDY)).tokens


def test_everything_is_kept_of_a_prompt_with_a_negative_num_keep(opened: Open) -> None:
    backend = opened(num_ctx=256)
    job = Generate(1, words(1, 100), 400, GREEDY, grammar=ENDLESS, num_keep=-1)
    assert len(answer(backend, job).tokens) == 400
    assert cached(answer(backend, Generate(2, [*words(1, 100), 7], 5, GREEDY))) == 100


def test_after_a_shift_no_more_is_shared_than_is_left() -> None:
    cut = Held(tokens=[1, 2], sound=4)
    assert cut.in_common([1, 2, 3, 4, 5]) == 2

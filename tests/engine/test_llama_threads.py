"""The policies see only what steps took, so a fake machine is a function from threads to time."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ollmlx.engine.llama.threads import FreeCores, Pace, Threads, available_cores


def hash_for(seconds: float) -> None:
    """Keep a core busy."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        hash(str(until))


def work(
    threads: Threads, cost: Callable[[int], float], seconds: float, tokens: int = 1
) -> tuple[float, float]:
    """Steps for that long on a machine where a token costs `cost(threads)`: tokens, seconds."""
    done = spent = 0.0
    while spent < seconds:
        took = cost(threads.choose(tokens)) * tokens
        threads.note(tokens, took)
        spent += took
        done += tokens
    return done, spent


def quiet(count: int) -> float:
    return 0.02 / float(count**0.85)


def beside_one_busy_neighbour(cores: int) -> Callable[[int], float]:
    return lambda count: quiet(count) if count < cores else 0.05


def test_all_cores_are_used_on_a_quiet_machine() -> None:
    threads = Threads(8)
    assert threads.choose(1) == 8
    done, spent = work(threads, quiet, 60)
    assert threads.settled == 8
    assert done > 0.97 * spent / quiet(8)


@pytest.mark.parametrize("cores", [2, 4, 8])
def test_a_busy_neighbour_costs_one_core_and_not_the_machine(cores: int) -> None:
    threads = Threads(cores)
    work(threads, beside_one_busy_neighbour(cores), 2)
    assert threads.settled == cores - 1


def test_steps_that_grow_long_are_answered_at_once() -> None:
    threads = Threads(2)
    work(threads, quiet, 30)
    assert threads.settled == 2
    work(threads, beside_one_busy_neighbour(2), 0.5)
    assert threads.settled == 1


def test_all_cores_are_taken_again_when_the_neighbour_has_gone() -> None:
    threads = Threads(2)
    work(threads, beside_one_busy_neighbour(2), 60)
    assert threads.settled == 1
    work(threads, quiet, 10)
    assert threads.settled == 2


def test_a_crowded_machine_is_noticed_within_a_few_steps() -> None:
    free = [2.0]
    threads = Threads(2, free=lambda _: free[0])
    free[0] = 1.3
    steps = 0
    while threads.settled == 2:
        threads.note(1, 0.7 if threads.choose(1) == 2 else 0.04)
        steps += 1
    assert steps <= 4


def test_trying_more_threads_beside_a_neighbour_costs_little() -> None:
    threads = Threads(2)
    cost = beside_one_busy_neighbour(2)
    work(threads, cost, 5)
    done, spent = work(threads, cost, 60)
    assert done > 0.97 * spent / quiet(1)


def test_steps_of_different_sizes_are_not_compared() -> None:
    threads = Threads(2)
    for _ in range(500):
        for tokens in (1, 300):
            # A prompt's token is 20 times as cheap as one that is decoded alone.
            threads.note(tokens, quiet(threads.choose(tokens)) * (1 if tokens == 1 else 15))
    assert threads.settled == 2


def test_fewer_threads_are_not_tried_with_a_prompt_where_a_short_step_tells_as_much() -> None:
    threads = Threads(2)
    longest = 0.0
    for _ in range(20):
        for tokens in (256, *[8] * 30):
            took = quiet(threads.choose(tokens)) * (tokens / 5)
            longest = max(longest, took)
            threads.note(tokens, took)
    assert threads.settled == 2
    assert longest == quiet(2) * 256 / 5


def test_more_threads_are_not_tried_while_no_core_is_free() -> None:
    free = [2.0]
    threads = Threads(2, free=lambda _: free[0])
    free[0] = 1.1
    work(threads, beside_one_busy_neighbour(2), 5)
    counts = set()
    for _ in range(2000):
        counts.add(threads.choose(1))
        threads.note(1, quiet(1))
    assert counts == {1}
    free[0] = 2.0
    work(threads, quiet, 10)
    assert threads.settled == 2


def test_a_machine_that_is_busy_from_the_start_is_joined_with_one_thread() -> None:
    assert Threads(8, free=lambda _: 0.2).choose(1) == 1
    assert Threads(8, free=lambda _: 7.6).choose(1) == 8
    assert Threads(8, fixed=6, free=lambda _: 0.2).choose(1) == 6
    assert Threads(8, fixed=10**8).choose(1) == 512  # more abort llama.cpp


def test_what_this_process_takes_counts_as_free() -> None:
    free, started, began = FreeCores(), psutil.cpu_times(), time.monotonic()
    hash_for(0.3)
    ended, mine = psutil.cpu_times(), 0.3 / (time.monotonic() - began)
    idle = (ended.idle - started.idle) / (sum(ended) - sum(started)) * (os.cpu_count() or 1)
    assert (free() or -1) > idle + mine / 2


def test_what_others_did_while_nothing_was_asked_of_this_server_is_not_counted() -> None:
    free = FreeCores()
    hash_for(0.3)
    assert free(worked=0.1) is None


def test_the_users_number_is_never_changed() -> None:
    threads = Threads(8, fixed=3)
    work(threads, beside_one_busy_neighbour(3), 5)
    assert threads.choose(1) == 3


def test_one_core_needs_no_trials() -> None:
    threads = Threads(1)
    work(threads, quiet, 5)
    assert threads.choose(1) == 1


def test_a_containers_quota_counts_as_cores(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("100000 100000\n")
    assert available_cores(quota) == 1
    quota.write_text("max 100000\n")
    assert available_cores(quota) == available_cores(tmp_path / "none")


def test_a_slow_machine_takes_prompts_in_small_chunks() -> None:
    pace = Pace(seconds=0.4)
    for _ in range(10):
        pace.note(pace.chunk, pace.chunk / 200)
    assert pace.chunk == pytest.approx(80, abs=4)


def test_a_fast_machine_takes_prompts_in_whole_chunks() -> None:
    pace = Pace()
    for _ in range(10):
        pace.note(pace.chunk, pace.chunk / 50_000)
    assert pace.chunk == 512


def test_prompts_are_read_at_least_as_fast_as_answers_are_written() -> None:
    pace = Pace()
    for _ in range(10):
        pace.note(8, 0.002)
    assert pace.cost == pytest.approx(0.002 / 8, rel=0.1)


def test_a_slow_step_without_a_prompt_says_nothing_about_prompts() -> None:
    pace = Pace()
    before = pace.chunk
    pace.note(1, 5.0)
    assert pace.chunk == before

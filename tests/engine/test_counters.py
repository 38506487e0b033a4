"""What a model's counters make of frames and of answers that end."""

from ollmlx.engine.counters import Counters
from ollmlx.engine.jobs import Delta, Progress, Usage


def test_a_step_counts_the_tokens_of_all_its_sequences():
    counters = Counters("m")
    counters.begun(5)
    counters.begun(7)
    counters.stepped([Delta(1, "a", [1]), Delta(2, "bc", [2, 3]), Progress(0.5)])
    assert (counters.generated_tokens, counters.steps, counters.batch) == (3, 1, 2)
    assert counters.pace > 0
    assert counters.held_tokens == 12


def test_nothing_is_held_and_nothing_is_batched_when_all_have_ended():
    told: list[str] = []
    counters = Counters("m", told=lambda outcome, usage: told.append(outcome))
    counters.begun(5)
    counters.stepped([Delta(1, "a", [1])])
    counters.ended(5, "stop", Usage(5, 3, 1_000_000_000, 1, 2_000_000_000))
    assert (counters.running, counters.batch, counters.held_tokens) == (0, 0, 0)
    assert counters.pace == 0
    assert (counters.prompt_tokens, counters.cached_tokens, counters.prompt_pace) == (5, 3, 2.0)
    assert (counters.outcomes, told) == ({"stop": 1}, ["stop"])


def test_a_frame_without_an_answer_is_no_step():
    counters = Counters("m")
    counters.begun(1)
    counters.stepped([Progress(1.0)])
    assert (counters.steps, counters.pace) == (0, 0)

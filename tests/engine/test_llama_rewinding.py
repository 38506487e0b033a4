"""Models that cannot be cut back to where the next turn differs: hybrid ones, and those with a
sliding window.
"""

from functools import partial
from pathlib import Path

import pytest

from ollmlx.engine.jobs import Generate
from ollmlx.gguf import Gguf
from tests.convert.tinies import TINIES
from tests.convert.tiny import write_tiny
from tests.engine.answers import GREEDY, Answer, answer, cached, drive
from tests.engine.asking import Open
from tests.engine.test_llama_cache import ENDLESS, words
from tests.toy import ToyModels


@pytest.fixture(params=["lfm2", "qwen35", "gemma3", "gpt-oss"])
def opened(request, llama: Open, toy: ToyModels, tmp_path: Path, saving: None) -> Open:
    """Opens one; its cache forgets what fell out of the window after some 300 tokens."""
    tokenizer = {k: v for k, v in Gguf(toy.gguf).meta.items() if k.startswith("tokenizer.")}
    tiny = next(tiny for tiny in TINIES if tiny.arch == request.param)
    write_tiny(tmp_path / "tiny.gguf", tiny, tokenizer)
    return partial(llama, tmp_path / "tiny.gguf", num_batch=32, kv_cache_type="f16")


def test_a_turn_that_leaves_out_the_last_thoughts_computes_little(opened) -> None:
    backend = opened()
    answer(backend, Generate(1, words(1, 150), 320, GREEDY))
    turn = words(1, 140) + words(2, 40)
    second = answer(backend, Generate(2, turn, 20, GREEDY))
    assert cached(second) >= 134
    assert second.tokens == answer(opened(), Generate(1, turn, 20, GREEDY)).tokens


def test_two_chats_in_turn_keep_what_they_hold(opened) -> None:
    backend = opened()
    for turn in (140, 170, 200):
        for chat in (1, 2):
            result = answer(backend, Generate(chat, words(chat, turn), 5, GREEDY))
            assert cached(result) >= (0 if turn == 140 else turn - 30 - 16)


def test_a_batch_of_them_says_what_each_says_alone(opened) -> None:
    backend, prompts = opened(num_parallel=3), {n: words(n, 20 + 50 * n) for n in range(5)}
    for number, prompt in prompts.items():
        backend.submit(Generate(number, prompt, 15, GREEDY))
    together = drive(backend)
    for number, prompt in prompts.items():
        alone = answer(opened(), Generate(number, prompt, 15, GREEDY))
        assert together[number].tokens == alone.tokens


def test_those_that_outgrow_a_shared_cache_wait_and_go_on(opened) -> None:
    backend, waited = opened(num_parallel=3, num_cells=512), set()
    jobs = {n: Generate(n, words(n, 130), 60, GREEDY, grammar=ENDLESS) for n in range(3)}
    for job in jobs.values():
        backend.submit(job)
    answers = {number: Answer() for number in jobs}
    while backend.busy:
        for event in backend.step():
            answers[event.id].add(event)
        waited |= {run.job.id for run in backend._scheduler._suspended}
    assert waited
    for number, job in jobs.items():
        assert len(answers[number].tokens) == 60
        alone = answer(opened(), job)
        assert answers[number].tokens[:50] == alone.tokens[:50]
        assert cached(answers[number]) == 0

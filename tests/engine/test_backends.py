"""What a backend promises, asked of both engines with the same toy weights."""

import json
from collections import defaultdict
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from llguidance import LLTokenizer

from ollmlx.engine.backend import load
from ollmlx.engine.formats import from_format
from ollmlx.engine.jobs import (
    Delta,
    Embed,
    Embedded,
    LoadOptions,
    Sampling,
)
from ollmlx.engine.llama.model import Model
from ollmlx.engine.mlx.vocabulary import Vocabulary
from ollmlx.errors import BadRequest, LoadFailed
from tests.engine.answers import Answer
from tests.engine.answers import answer as ask
from tests.engine.answers import drive as finish
from tests.engine.asking import Open, job
from tests.toy import CHAT, REPLY, TOOL_CALL, ToyModels


def test_a_greedy_answer_ends_at_the_end_token(scripted_toy: Open) -> None:
    backend = scripted_toy()
    answer = ask(backend, job(backend))
    assert answer.text == REPLY
    assert answer.finish == "stop"
    assert backend.detokenize(answer.tokens) == REPLY
    assert answer.usage.prompt_tokens == len(backend.tokenize(CHAT, True))
    assert answer.usage.tokens == len(answer.tokens) + 1  # Ollama counts the end token
    assert answer.usage.prompt_ns > 0
    assert answer.usage.eval_ns > 0
    assert not backend.busy


def test_control_tokens_steer_the_model_and_long_tokens_come_out_whole(scripted_toy: Open) -> None:
    backend = scripted_toy()
    assert ask(backend, job(backend, CHAT + "<|tools|>")).text == TOOL_CALL


def test_an_emoji_of_four_tokens_is_never_split(scripted_toy: Open) -> None:
    backend = scripted_toy()
    backend.submit(job(backend))
    texts = []
    while backend.busy:
        texts += [event.text for event in backend.step()]
    assert "😀" in texts
    assert "\ufffd" not in "".join(texts)


def test_a_character_cut_by_max_tokens_is_marked(scripted_toy: Open) -> None:
    backend = scripted_toy()
    answer = ask(backend, job(backend, max_tokens=11))
    assert answer.text == REPLY[:-1] + "\ufffd"
    assert answer.finish == "length"


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(scripted_toy: Open) -> None:
    backend = scripted_toy()
    answer = ask(backend, job(backend, stop=["can I", "help"]))
    assert answer.text == "Hello there! How "
    assert answer.finish == "stop"
    assert not backend.busy


def test_a_stop_text_that_never_completes_is_not_lost(scripted_toy: Open) -> None:
    backend = scripted_toy()
    assert ask(backend, job(backend, stop=["? 😀 and more"])).text == REPLY


def test_max_tokens_ends_an_answer_with_length(random_toy: Open) -> None:
    backend = random_toy()
    answer = ask(backend, job(backend, max_tokens=7))
    assert len(answer.tokens) == answer.usage.tokens == 7
    assert answer.finish == "length"


def test_a_seed_gives_the_same_text_alone_and_in_a_batch(random_toy: Open) -> None:
    backend = random_toy()
    warm = Sampling(temperature=1.0, top_k=0, top_p=1.0, seed=42)
    alone = ask(backend, job(backend, sampling=warm))
    for id, seed in enumerate((7, 42, 8, 42)):
        sampling = Sampling(temperature=1.0, top_k=0, top_p=1.0, seed=seed)
        backend.submit(job(backend, id=id, sampling=sampling))
    together = finish(backend)
    assert together[1].tokens == together[3].tokens == alone.tokens
    assert together[0].tokens != alone.tokens


def test_a_negative_seed_is_a_new_one_each_time(random_toy: Open) -> None:
    backend = random_toy()
    warm = Sampling(temperature=2.0, top_k=0, top_p=1.0)
    first, second = (ask(backend, job(backend, sampling=warm)).tokens for _ in range(2))
    assert first != second


def test_jobs_join_and_leave_without_changing_each_other(random_toy: Open) -> None:
    backend = random_toy()
    prompts = {1: CHAT, 2: "something else", 3: "a third thing"}
    alone = {id: ask(backend, job(backend, p, id)).tokens for id, p in prompts.items()}
    answers: dict[int, Answer] = defaultdict(Answer)
    for id, prompt in prompts.items():
        backend.submit(job(backend, prompt, id))
        for _ in range(5):
            for event in backend.step():
                answers[event.id].add(event)
    backend.cancel(2)
    seen = list(answers[2].tokens)
    while backend.busy:
        for event in backend.step():
            answers[event.id].add(event)
    assert answers[1].tokens == alone[1]
    assert answers[3].tokens == alone[3]
    assert answers[2].tokens == seen
    assert answers[2].finish is None


def test_a_job_may_be_cancelled_while_it_runs_and_before_it_began(random_toy: Open) -> None:
    backend = random_toy(num_parallel=1)
    for id in (1, 2, 3):
        backend.submit(job(backend, id=id))
    backend.step()
    for id in (1, 2, 99):
        backend.cancel(id)
    assert set(finish(backend)) == {3}


def test_a_job_may_be_cancelled_while_its_prompt_is_read(random_toy: Open) -> None:
    backend = random_toy(num_ctx=2048, num_batch=64)
    backend.submit(job(backend, id=1, max_tokens=20))
    backend.step()
    backend.step()
    backend.submit(job(backend, "x" * 1000, id=2))
    for _ in range(3):
        backend.step()
    backend.cancel(2)
    assert 2 not in finish(backend)
    assert ask(backend, job(backend, "x" * 1000, id=3)).finish == "length"


def test_more_jobs_than_places_wait_first_come_first_served(random_toy: Open) -> None:
    backend = random_toy(num_parallel=1)
    for id in (3, 1, 2):
        backend.submit(job(backend, id=id, max_tokens=5))
    order = []
    while backend.busy:
        order += [event.id for event in backend.step() if isinstance(event, Delta) and event.finish]
    assert order == [3, 1, 2]


def test_a_running_answer_goes_on_while_a_long_prompt_is_read(random_toy: Open) -> None:
    backend = random_toy(num_ctx=2048, num_batch=64)
    backend.submit(job(backend, id=1, max_tokens=200))
    while not backend.step():
        pass
    backend.submit(job(backend, "y" * 1000, id=2, max_tokens=2))
    before: list[int] = []
    while 2 not in before:
        before += [event.id for event in backend.step()]
    assert before.count(1) >= 1000 // 64


def test_a_second_turn_reads_only_what_is_new(random_toy: Open) -> None:
    backend, fresh = random_toy(), random_toy()
    first = job(backend, CHAT * 3)
    answer = ask(backend, first)
    assert answer.usage.cached_tokens == 0
    turn = [*first.prompt, *answer.tokens, *backend.tokenize("<|im_end|>\n" + CHAT, False)]
    second = ask(backend, job(backend, turn))
    assert second.usage.cached_tokens >= len(first.prompt)
    assert second.usage.prompt_tokens == len(turn)
    assert second.tokens == ask(fresh, job(fresh, turn)).tokens


def test_the_same_prompt_again_is_read_from_memory(random_toy: Open) -> None:
    backend = random_toy()
    first, again = (ask(backend, job(backend)) for _ in range(2))
    assert again.usage.cached_tokens == first.usage.prompt_tokens - 1  # the last is computed anew
    assert again.tokens == first.tokens


def test_another_turn_of_the_talk_is_cut_off_the_cache(random_toy: Open, saving: None) -> None:
    backend, fresh = random_toy(), random_toy()
    ask(backend, job(backend, "the same beginning, one end"))
    other = "the same beginning, another end"
    answer = ask(backend, job(backend, other))
    assert 0 < answer.usage.cached_tokens < answer.usage.prompt_tokens
    assert answer.tokens == ask(fresh, job(fresh, other)).tokens


def test_a_full_window_shifts_and_the_answer_goes_on(random_toy: Open) -> None:
    backend = random_toy(num_ctx=64)
    endless = from_format({"type": "array", "items": {"type": "boolean"}, "minItems": 400})
    answer = ask(backend, job(backend, max_tokens=150, logprobs=0, grammar=endless))
    assert len(answer.tokens) == 150
    assert answer.finish == "length"
    assert b"".join(entry.token for entry in answer.logprobs).decode() == answer.text
    assert answer.usage.prompt_tokens + answer.usage.tokens > 2 * 64


def test_a_full_window_ends_the_answer_where_shifting_is_not_wanted(random_toy: Open) -> None:
    backend = random_toy(num_ctx=64)
    answer = ask(backend, job(backend, max_tokens=150, shift=False))
    assert answer.finish == "length"
    assert 62 <= answer.usage.prompt_tokens + len(answer.tokens) <= 65


def test_a_grammar_survives_a_shift(random_toy: Open) -> None:
    backend = random_toy(num_ctx=64)
    schema = {"type": "array", "items": {"enum": [True]}, "minItems": 40, "maxItems": 40}
    wanted = job(backend, max_tokens=2000, grammar=from_format(schema))
    assert json.loads(ask(backend, wanted).text) == [True] * 40


def test_what_grammars_need_is_begun_when_a_model_rests_and_nobody_waits_for_it(
    random_toy: Open, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, wanted = Event(), Event()
    owner = Model if kind == "gguf" else Vocabulary
    plain = owner._read_grammars

    def slow(self: Any) -> LLTokenizer:
        begun.set()
        assert wanted.wait(60)
        return plain(self)

    monkeypatch.setattr(owner, "_read_grammars", slow)  # a toy's is made before one can look
    backend = random_toy()
    ask(backend, job(backend, max_tokens=5))
    assert not begun.is_set()
    backend.rest()
    assert begun.wait(60)
    assert len(ask(backend, job(backend, max_tokens=5)).tokens) == 5
    wanted.set()
    grammar = from_format({"type": "choice", "choices": ["yes", "no"]})
    assert ask(backend, job(backend, grammar=grammar)).text in {"yes", "no"}


def test_a_prompt_that_does_not_fit_fails_its_job_alone(random_toy: Open) -> None:
    backend = random_toy(num_ctx=64)
    failed = ask(backend, job(backend, "z" * 64)).failed
    assert failed is not None
    assert failed.status == 400
    assert ask(backend, job(backend, id=2)).finish is not None


def test_texts_become_vectors_in_order(random_toy: Open) -> None:
    backend = random_toy()
    inputs = [backend.tokenize(text, True) for text in ("one", "another text", "one")]
    backend.embed(Embed(1, inputs))
    backend.embed(Embed(2, inputs[1:2]))
    answers = finish(backend)
    first, alone = (_vectors(answers[id].embedded) for id in (1, 2))
    assert first.shape == (3, _dimensions(answers[1]))
    # CUDA multiplies in TF32: a place in the batch is worth up to 3e-4.
    assert np.allclose(first[0], first[2], atol=2e-3)
    assert np.allclose(first[1], alone[0], atol=2e-3)
    assert not np.allclose(first[0], first[1], atol=1e-2)


def test_texts_are_embedded_beside_an_answer(random_toy: Open) -> None:
    backend = random_toy()
    alone = ask(backend, job(backend)).tokens
    backend.submit(job(backend))
    backend.embed(Embed(2, [backend.tokenize("a text", True)]))
    answers = finish(backend)
    assert answers[1].tokens == alone
    assert answers[2].embedded is not None


def _dimensions(answer: Answer) -> int:
    assert answer.embedded is not None
    return answer.embedded.dimensions


def _vectors(embedded: Embedded | None) -> np.ndarray:
    assert embedded is not None
    return np.frombuffer(embedded.vectors, "<f4").reshape(-1, embedded.dimensions)


def test_an_idle_backend_has_nothing_to_say(random_toy: Open) -> None:
    backend = random_toy()
    assert not backend.busy
    assert backend.step() == []


def test_it_says_what_it_loaded(random_toy: Open) -> None:
    info = random_toy(num_ctx=100_000).info
    assert info.num_ctx == 2048
    assert info.num_vocab == 352
    assert info.size > 100_000
    assert info.size_vram <= info.size
    assert (info.bos, info.eos, info.adds_bos) == ("<|endoftext|>", "<|im_end|>", False)
    assert info.can_generate
    assert info.can_shift


def test_text_goes_to_tokens_and_back(random_toy: Open) -> None:
    backend = random_toy()
    text = " Hello there!\n\tGrüße, 日本語 👩‍👩‍👧 <|im_end|>" + " " * 60 + "-" * 200
    assert backend.detokenize(backend.tokenize(text, True)) == text
    assert len(backend.tokenize("<|im_end|>", False)) == 1


@pytest.mark.parametrize("token", [-1, 352, 1 << 40])
def test_a_number_that_is_no_token_is_refused(random_toy: Open, token: int) -> None:
    with pytest.raises(BadRequest, match="token ids must be from 0 to 351"):
        random_toy().detokenize([1, token])


def test_what_is_not_a_model_is_named(kind: str, tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="nowhere"):
        load(kind, str(tmp_path / "nowhere"), LoadOptions(), lambda fraction: None)


def test_loading_reports_how_far_it_is(kind: str, toy: ToyModels) -> None:
    fractions: list[float] = []
    path = toy.gguf if kind == "gguf" else toy.mlx
    load(kind, str(path), LoadOptions(num_ctx=64, num_thread=1), fractions.append).close()
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_both_engines_give_the_same_tokens(toy: ToyModels) -> None:
    answers = []
    for kind, path in (("gguf", toy.gguf), ("mlx", toy.mlx)):
        options = LoadOptions(num_ctx=512, num_thread=1)
        backend = load(kind, str(path), options, lambda fraction: None)
        answers.append(ask(backend, job(backend, CHAT, max_tokens=30)).tokens)
        backend.close()
    assert answers[0] == answers[1]

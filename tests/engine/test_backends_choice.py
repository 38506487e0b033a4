"""How both engines choose tokens: sampling, penalties, log-probabilities, grammars."""

import json
import string

import numpy as np
import pytest

from ollmlx.engine.formats import from_format
from ollmlx.engine.grammar import tag
from ollmlx.engine.jobs import (
    Sampling,
)
from tests.engine.answers import answer as ask
from tests.engine.answers import drive as finish
from tests.engine.asking import Open, job
from tests.toy import CHAT

SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["cat", "dog"]}},
    "required": ["ok", "kind"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "narrow",
    [
        Sampling(temperature=5.0, top_k=1),
        Sampling(temperature=5.0, top_k=0, top_p=0.0),
        Sampling(temperature=5.0, top_k=0, top_p=1.0, min_p=1.0),
    ],
    ids=["top_k", "top_p", "min_p"],
)
def test_the_narrowest_sampling_is_greedy(random_toy: Open, narrow: Sampling) -> None:
    backend = random_toy()
    greedy = ask(backend, job(backend, max_tokens=20))
    assert ask(backend, job(backend, max_tokens=20, sampling=narrow)).tokens == greedy.tokens


def test_a_presence_penalty_over_all_tokens_forbids_repeating(random_toy: Open) -> None:
    backend = random_toy()
    sampling = Sampling(temperature=0, presence_penalty=1000.0, repeat_last_n=-1)
    wanted = job(backend, sampling=sampling, max_tokens=60)
    tokens = ask(backend, wanted).tokens
    assert len(set(tokens)) == len(tokens)
    assert not set(tokens) & set(wanted.prompt)


def test_a_penalty_that_looks_back_on_nothing_changes_nothing(random_toy: Open) -> None:
    backend = random_toy()
    sampling = Sampling(temperature=0, presence_penalty=1000.0, repeat_last_n=0)
    plain = ask(backend, job(backend)).tokens
    assert ask(backend, job(backend, sampling=sampling)).tokens == plain


def test_penalties_see_the_part_of_the_prompt_that_was_not_read_again(random_toy: Open) -> None:
    backend = random_toy()
    sampling = Sampling(temperature=0, presence_penalty=1000.0, repeat_last_n=-1)
    prompt = backend.tokenize(string.printable, True)
    ask(backend, job(backend, prompt))
    again = ask(backend, job(backend, prompt, sampling=sampling))
    assert again.usage.cached_tokens > 0
    assert not set(again.tokens) & set(prompt)


def test_logprobs_are_of_the_tokens_that_came(random_toy: Open) -> None:
    backend = random_toy()
    answer = ask(backend, job(backend, max_tokens=10, logprobs=3))
    assert len(answer.logprobs) == 10
    for entry in answer.logprobs:
        values = [value for _, value in entry.top]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert entry.top[0] == (entry.token, pytest.approx(entry.logprob))
        assert entry.logprob < 0
    joined = b"".join(entry.token for entry in answer.logprobs)
    assert joined.decode("utf-8", "replace") == answer.text


def test_logprobs_are_taken_before_sampling_bends_them(random_toy: Open) -> None:
    backend = random_toy()
    plain = ask(backend, job(backend, max_tokens=1, logprobs=5)).logprobs[0]
    bent = Sampling(temperature=3.0, top_k=2, repeat_penalty=1.5, repeat_last_n=-1, seed=1)
    other = ask(backend, job(backend, max_tokens=1, logprobs=5, sampling=bent)).logprobs[0]
    assert [token for token, _ in other.top] == [token for token, _ in plain.top]
    # CUDA's TF32 differs by 7e-3 from one run to the next; the sampling above bends by 0.3.
    assert np.allclose([v for _, v in other.top], [v for _, v in plain.top], atol=2e-2)


def test_logprobs_without_a_top_name_only_the_token(random_toy: Open) -> None:
    backend = random_toy()
    (entry,) = ask(backend, job(backend, max_tokens=1, logprobs=0)).logprobs
    assert entry.top == []


def test_no_logprobs_come_unasked(random_toy: Open) -> None:
    backend = random_toy()
    assert ask(backend, job(backend)).logprobs == []


def test_a_grammar_makes_a_random_model_write_valid_json(random_toy: Open) -> None:
    backend = random_toy()
    free = ask(backend, job(backend, "free", id=9)).tokens
    backend.submit(job(backend, "free", id=0))
    for id in (1, 2, 3):
        sampling = Sampling(temperature=1.5, seed=id, top_k=0)
        grammar = from_format(SCHEMA)
        backend.submit(job(backend, id=id, max_tokens=200, sampling=sampling, grammar=grammar))
    answers = finish(backend)
    for id in (1, 2, 3):
        value = json.loads(answers[id].text)
        assert answers[id].finish == "stop"
        assert isinstance(value["ok"], bool)
        assert value["kind"] in ("cat", "dog")
    assert answers[0].tokens == free


def test_a_grammar_nobody_can_read_fails_its_job_alone(random_toy: Open) -> None:
    backend = random_toy()
    backend.submit(job(backend, id=1, grammar="start: ("))
    backend.submit(job(backend, id=2, max_tokens=3))
    answers = finish(backend)
    assert answers[1].failed is not None
    assert answers[1].failed.status == 400
    assert answers[2].finish == "length"


def test_a_bias_forbids_and_forces_tokens_and_leaves_their_logprobs(random_toy: Open) -> None:
    backend = random_toy()
    plain = ask(backend, job(backend, max_tokens=8, logprobs=1))
    first = plain.tokens[0]
    without = Sampling(temperature=0, logit_bias={first: -1000.0})
    changed = ask(backend, job(backend, max_tokens=8, sampling=without, logprobs=1))
    assert first not in changed.tokens
    assert changed.logprobs[0].top[0][0] == plain.logprobs[0].top[0][0]
    assert changed.logprobs[0].top[0][1] == pytest.approx(plain.logprobs[0].top[0][1], abs=1e-5)
    forced = Sampling(temperature=1.0, seed=1, logit_bias={97: 1000.0})
    assert set(ask(backend, job(backend, max_tokens=8, sampling=forced)).tokens) == {97}


def test_a_tag_in_a_grammar_is_the_models_own_token(random_toy: Open) -> None:
    backend = random_toy()
    grammar = f"start: {tag('<tool_call>{')} {tag('<unknown>')} /x/"
    answer = ask(backend, job(backend, grammar=grammar))
    assert answer.text == "<tool_call>{<unknown>x"
    assert answer.tokens[0] == backend.tokenize("<tool_call>", False)[0]


def test_free_text_in_a_grammar_has_no_special_tokens(scripted_toy: Open) -> None:
    backend = scripted_toy()
    prompt = CHAT + "<|tools|>"
    assert "<tool_call>" in ask(backend, job(backend, prompt)).text
    answer = ask(backend, job(backend, prompt, grammar="start: /(?s:.*)/", max_tokens=10))
    assert "<tool_call>" not in answer.text

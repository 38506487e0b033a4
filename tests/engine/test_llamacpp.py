"""What is llama.cpp's own; the promises of every backend are in test_backends.py."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_cpp import Llama
from msgspec import structs

from ollmlx.engine.jobs import Delta, Failed, Generate, LoadOptions, Sampling
from ollmlx.engine.llama.backend import LlamaCppBackend
from ollmlx.errors import LoadFailed
from tests.convert.tiny import write_gguf
from tests.engine.answers import GREEDY, answer, drive
from tests.toy import HEAD, HEADS, HIDDEN, KV_HEADS, LAYERS, ToyModels

# On the processor: CUDA multiplies F32 in TF32, 7e-3 of a logit apart from one batch to the next.
EXACT = LoadOptions(num_ctx=256, num_parallel=4, num_thread=1, num_gpu=0, kv_cache_type="f32")
TEXT = "Hello there, how can I help you today? I am well."


def silent(fraction: float) -> None:
    """Nobody watches this load."""


def opened(path: Path, options: LoadOptions = EXACT) -> LlamaCppBackend:
    return LlamaCppBackend(str(path), options, silent)


@pytest.fixture(scope="module")
def backend(toy: ToyModels) -> Iterator[LlamaCppBackend]:
    backend = opened(toy.gguf)
    yield backend
    backend.close()


def library_tokens(path: Path, prompt: list[int], count: int) -> list[int]:
    """What llama-cpp-python's own high-level class writes, greedily."""
    library = Llama(str(path), n_ctx=256, verbose=False, type_k=0, type_v=0)
    tokens = library.generate(prompt, temp=0.0, repeat_penalty=1.0)
    written = list(itertools.islice(tokens, count))
    library.close()
    return written


# -- answers ---------------------------------------------------------------------------------------


def test_greedy_tokens_are_the_librarys_own(backend: LlamaCppBackend, toy: ToyModels) -> None:
    prompt = backend.tokenize(TEXT, True)
    assert answer(backend, Generate(1, prompt, 60, GREEDY)).tokens == library_tokens(
        toy.gguf, prompt, 60
    )


@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        Sampling(seed=7),
        Sampling(seed=7, top_k=0, typical_p=0.9, min_p=0.02, top_p=1.0),
        Sampling(seed=7, repeat_penalty=1.3, presence_penalty=0.5, repeat_last_n=-1),
        Sampling(seed=2**32 - 1),
        Sampling(seed=2**40),
    ],
)
def test_an_answer_does_not_depend_on_its_neighbours(toy: ToyModels, sampling: Sampling) -> None:
    # llama.cpp sums in another order in a batch: 1e-6 of a logit in F32, 1e-3 with the halves
    # that its flash attention computes in, which a random model soon feels.
    backend = opened(toy.gguf, structs.replace(EXACT, flash_attention=False))
    prompts = [backend.tokenize(TEXT[start:], True) for start in (0, 3, 9, 17)]
    alone = [answer(backend, Generate(n, p, 30, sampling)) for n, p in enumerate(prompts)]
    for number, prompt in enumerate(prompts):
        backend.submit(Generate(number, prompt, 30, sampling))
    together = drive(backend)
    assert [together[n].tokens for n in range(4)] == [one.tokens for one in alone]
    backend.close()


def test_a_prompt_in_chunks_gives_the_same_answer(backend: LlamaCppBackend, toy: ToyModels) -> None:
    prompt = backend.tokenize(TEXT * 3, True)
    small = opened(
        toy.gguf, LoadOptions(num_ctx=256, num_batch=7, num_thread=1, kv_cache_type="f32")
    )
    whole = answer(backend, Generate(1, prompt, 30, GREEDY))
    assert answer(small, Generate(1, prompt, 30, GREEDY)).tokens == whole.tokens
    small.close()


def test_every_step_gives_each_running_answer_one_token(backend: LlamaCppBackend) -> None:
    prompt = backend.tokenize(TEXT, True)
    for number in range(3):
        backend.submit(Generate(number, prompt[number:], 20, GREEDY))
    backend.step()
    for _ in range(5):
        events = backend.step()
        assert sorted(event.id for event in events) == [0, 1, 2]
        assert all(isinstance(event, Delta) and len(event.tokens) == 1 for event in events)
    drive(backend)


# -- what a client can send ------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [[], [5] * 256, [-1], [352], [5, 2**31]])
def test_a_prompt_that_cannot_be_is_refused_before_llama_cpp_sees_it(
    backend: LlamaCppBackend, prompt: list[int]
) -> None:
    failed = answer(backend, Generate(1, prompt, 5, GREEDY)).failed
    assert isinstance(failed, Failed)
    assert failed.status == 400


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1e30, top_k=10**6, top_p=-1),
        Sampling(temperature=1e-30, top_k=-5, top_p=5, min_p=7, typical_p=-3),
        Sampling(temperature=-1, repeat_penalty=0, presence_penalty=1e30),
        Sampling(repeat_penalty=-2, frequency_penalty=-1e30, repeat_last_n=-7),
    ],
)
def test_senseless_sampling_is_survived(backend: LlamaCppBackend, sampling: Sampling) -> None:
    assert answer(backend, Generate(1, [5, 6, 7], 5, sampling)).finish


# -- loading ---------------------------------------------------------------------------------------


def test_a_cache_of_smaller_numbers_is_smaller(toy: ToyModels) -> None:
    sizes = []
    for kind in ("f32", "f16"):
        backend = opened(toy.gguf, LoadOptions(num_ctx=2048, num_parallel=8, kv_cache_type=kind))
        sizes.append(backend.info.size)
        backend.close()
    cells, keys_and_values = 2048 * 8, 2 * LAYERS * KV_HEADS * HEAD
    assert sizes[0] - sizes[1] >= 2 * cells * keys_and_values


def test_a_cache_that_the_model_cannot_have_is_refused_with_llama_cpps_reason(
    toy: ToyModels,
) -> None:
    with pytest.raises(LoadFailed, match="block size 32 does not divide"):
        opened(toy.gguf, LoadOptions(kv_cache_type="q8_0"))


def test_a_quantised_cache_without_flash_attention_is_refused(toy: ToyModels) -> None:
    options = LoadOptions(kv_cache_type="q8_0", flash_attention=False)
    with pytest.raises(LoadFailed, match="flash attention"):
        opened(toy.gguf, options)


@pytest.mark.parametrize(
    "options",
    [
        LoadOptions(use_mmap=False),
        LoadOptions(use_mmap=True, num_gpu=0),
        LoadOptions(main_gpu=0, flash_attention=True),
        LoadOptions(num_thread=1, flash_attention=False),
        LoadOptions(num_batch=1, num_parallel=3),
    ],
)
def test_every_way_of_loading_gives_the_same_answer(
    backend: LlamaCppBackend, toy: ToyModels, options: LoadOptions
) -> None:
    prompt = backend.tokenize(TEXT, True)
    other = opened(toy.gguf, options)
    job = Generate(1, prompt, 5, GREEDY)
    assert answer(other, job).tokens == answer(backend, job).tokens
    other.close()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"unable to load model: .*none\.gguf: no such file"):
        opened(tmp_path / "none.gguf")


def test_a_truncated_file_is_refused_with_llama_cpps_reason(toy: ToyModels, tmp_path: Path) -> None:
    short = tmp_path / "short.gguf"
    short.write_bytes(toy.gguf.read_bytes()[:-10_000])
    with pytest.raises(LoadFailed, match=r"unable to load model: .*short\.gguf: .*corrupt"):
        opened(short)


def test_what_is_no_gguf_is_refused_with_llama_cpps_reason(tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK\x03\x04" + bytes(1000))
    with pytest.raises(LoadFailed, match=r"unable to load model: .*magic"):
        opened(other)


# -- adapters --------------------------------------------------------------------------------------


def adapter(path: Path) -> Path:
    """A LoRA adapter of rank 2 that bends the first layer's queries."""
    meta = {"general.architecture": "llama", "general.type": "adapter"}
    meta |= {"adapter.type": "lora", "adapter.lora.alpha": 2.0}
    draw = np.random.default_rng(1).standard_normal
    shapes = {"lora_a": (2, HIDDEN), "lora_b": (HEADS * HEAD, 2)}
    low = {f"blk.0.attn_q.weight.{part}": draw(s).astype("f4") for part, s in shapes.items()}
    write_gguf(path, meta, low)
    return path


def test_an_adapter_changes_the_answer(
    backend: LlamaCppBackend, toy: ToyModels, tmp_path: Path
) -> None:
    path = str(adapter(tmp_path / "lora.gguf"))
    bent = opened(toy.gguf, LoadOptions(num_ctx=256, num_thread=1, adapters=(path,)))
    job = Generate(1, backend.tokenize(TEXT, True), 20, GREEDY)
    assert answer(bent, job).tokens != answer(backend, job).tokens
    bent.close()


def test_an_adapter_that_is_none_fails_the_load(toy: ToyModels, tmp_path: Path) -> None:
    missing = str(tmp_path / "none.gguf")
    with pytest.raises(LoadFailed, match=r"failed to load the adapter: .*none\.gguf"):
        opened(toy.gguf, LoadOptions(adapters=(missing,)))

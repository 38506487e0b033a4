"""What only the MLX engine has: Hugging Face folders, mlx-lm batches, caches that cannot be cut."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from mlx_lm import load as load_plain
from mlx_lm import stream_generate
from mlx_lm.generate import BatchGenerator
from mlx_lm.models import lfm2

from ollmlx.engine.formats import from_format
from ollmlx.engine.grammar import Matcher
from ollmlx.engine.jobs import Delta, Embed, Embedded, Failed, Generate, Sampling
from ollmlx.engine.mlx.backend import MlxBackend
from ollmlx.engine.mlx.cuda import flatten_rows, warm
from ollmlx.errors import LoadFailed, OllmlxError
from tests.toy import CHAT, HIDDEN, REPLY, ToyModels

Open = Callable[..., MlxBackend]
GREEDY = Sampling(temperature=0)


@pytest.fixture
def opened(mlx: Open) -> Open:
    return partial(mlx, num_parallel=2)


@pytest.fixture
def folder(toy: ToyModels, tmp_path: Path) -> Path:
    """A copy of the random toy that a test may change."""
    return Path(shutil.copytree(toy.mlx, tmp_path / "model"))


def _change(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    value = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({k: v for k, v in (value | changes).items() if v is not None}))


def _finish(backend: MlxBackend) -> list[Delta | Embedded | Failed]:
    events = []
    for _ in range(2000):
        if not backend.busy:
            return events
        events += backend.step()
    raise AssertionError("the backend is busy for ever")


def _tokens(backend: MlxBackend, prompt: str | list[int] = CHAT, max_tokens: int = 24) -> list[int]:
    tokens = backend.tokenize(prompt, True) if isinstance(prompt, str) else prompt
    backend.submit(Generate(1, tokens, max_tokens, GREEDY))
    return [token for event in _finish(backend) for token in event.tokens]


def test_greedy_tokens_are_those_of_mlx_lm(opened: Open, toy: ToyModels) -> None:
    backend = opened(toy.mlx)
    model, tokenizer = load_plain(str(toy.mlx))
    prompt = tokenizer.encode(CHAT, add_special_tokens=False)
    plain = [each.token for each in stream_generate(model, tokenizer, prompt, max_tokens=24)]
    assert backend.tokenize(CHAT, True) == prompt
    assert _tokens(backend) == plain


def test_a_folder_is_refused_with_what_is_wrong_with_it(folder: Path, opened: Open) -> None:
    def refusal() -> str:
        with pytest.raises(LoadFailed) as caught:
            opened(folder)
        return str(caught.value)

    _change(folder, "config.json", model_type="perceptron")
    assert "perceptron" in refusal()
    _change(folder, "config.json", model_type="llama", model_file="evil.py")
    assert "evil.py" in refusal()
    _change(folder, "config.json", model_file=None, hidden_size=128)
    assert "shape" in refusal().lower()
    (folder / "tokenizer.json").rename(folder / "elsewhere.json")
    assert "no tokenizer.json" in refusal()
    (folder / "tokenizer.json").write_text('{"model": 3}')
    assert "tokenizer.json" in refusal()
    (folder / "model.safetensors").unlink()
    assert "no weights" in refusal()
    (folder / "config.json").write_text("{")
    assert "config.json" in refusal()
    (folder / "config.json").unlink()
    assert "no config.json" in refusal()


@pytest.mark.parametrize(
    ("name", "setting", "value", "told"),
    [
        ("config.json", "num_hidden_layers", "x", "num_hidden_layers: Expected `int`, got `str`"),
        ("config.json", "rope_scaling", [1], "rope_scaling: Expected `object | null`"),
        ("config.json", "rope_theta", "x", "rope_theta: Expected `float`, got `str`"),
        ("config.json", "vocab_size", 0, "a setting in its config.json is wrong"),
        ("config.json", "quantization", {"bits": 4}, "'group_size' is missing"),
        ("config.json", "text_config", "x", "config.json: Expected `object | null`"),
        ("generation_config.json", "eos_token_id", ["x"], "generation_config.json: Expected `int`"),
        ("tokenizer_config.json", "bos_token", 7, "tokenizer_config.json: Expected `str"),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    folder: Path, opened: Open, name: str, setting: str, value: Any, told: str
) -> None:
    _change(folder, name, **{setting: value})
    with pytest.raises(LoadFailed) as caught:
        opened(folder)
    assert told in str(caught.value)


def test_corrupt_weights_are_refused(folder: Path, opened: Open) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(LoadFailed, match="unable to load model"):
        opened(folder)


def test_an_adapter_of_another_kind_is_refused(folder: Path, opened: Open, tmp_path: Path) -> None:
    _change(tmp_path, "adapter_config.json", peft_type="LORA", r=8)
    with pytest.raises(LoadFailed, match="not an adapter of mlx-lm"):
        opened(folder, adapters=(str(tmp_path),))


def test_rope_settings_of_transformers_5_are_heard(folder: Path, opened: Open) -> None:
    scaling = {"rope_type": "linear", "factor": 4.0}
    _change(folder, "config.json", rope_theta=300.0, rope_scaling={"type": "linear", "factor": 4.0})
    told_plainly = _tokens(opened(folder))
    rope = {"rope_theta": 300.0, **scaling}
    _change(folder, "config.json", rope_theta=None, rope_scaling=None, rope_parameters=rope)
    assert _tokens(opened(folder)) == told_plainly
    _change(folder, "config.json", rope_parameters=None)
    assert _tokens(opened(folder)) != told_plainly


def test_every_end_token_ends_an_answer(scripted: ToyModels, tmp_path: Path, opened: Open) -> None:
    folder = Path(shutil.copytree(scripted.mlx, tmp_path / "model"))
    question = opened(folder).tokenize("?", False)
    end = opened(folder).tokenize("<|im_end|>", False)
    _change(folder, "generation_config.json", eos_token_id=[*question, *end])
    backend = opened(folder)
    assert backend.detokenize(_tokens(backend)) == REPLY.partition("?")[0]


def test_a_begin_token_that_only_the_settings_ask_for_is_added(folder: Path, opened: Open) -> None:
    _change(folder, "tokenizer_config.json", add_bos_token=True)
    backend = opened(folder)
    begin = backend.tokenize("<|endoftext|>", False)
    assert backend.info.adds_bos
    assert backend.tokenize("hi", True) == [*begin, *backend.tokenize("hi", False)]


@pytest.mark.skipif(mx.default_device() != mx.cpu, reason="half precision stays on a GPU")
def test_half_precision_is_widened_on_a_cpu_and_packed_weights_stay(
    folder: Path, opened: Open
) -> None:
    model, _ = load_plain(str(folder))
    nn.quantize(model, group_size=32, bits=8)
    model.set_dtype(mx.float16)
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    _change(folder, "config.json", quantization={"group_size": 32, "bits": 8})
    backend = opened(folder)
    packed = sum(w.nbytes for w in weights.values() if w.dtype == mx.uint32)
    halves = sum(w.nbytes for w in weights.values() if w.dtype == mx.float16)
    per_token = 2 * 2 * 2 * 16 * 4  # keys and values, layers, heads, head size, float32
    assert backend.info.size == packed + 2 * halves + 4 * 512 * per_token
    assert _tokens(backend)


def test_embeddings_are_the_mean_of_the_last_hidden_states(toy: ToyModels, opened: Open) -> None:
    backend = opened(toy.mlx, num_batch=4)  # the text is read in several pieces
    tokens = backend.tokenize("a text of more than a few tokens", True)
    backend.embed(Embed(1, [tokens]))
    (event,) = _finish(backend)
    assert isinstance(event, Embedded)
    model, _ = load_plain(str(toy.mlx))
    states = np.array(model.model(mx.array([tokens]))[0])
    assert np.allclose(np.frombuffer(event.vectors, "<f4"), states.mean(axis=0), atol=1e-4)


def test_sentence_transformers_last_token_pooling_is_followed(folder: Path, opened: Open) -> None:
    (folder / "1_Pooling").mkdir()
    _change(folder / "1_Pooling", "config.json", pooling_mode_lasttoken=True)
    backend = opened(folder)
    tokens = backend.tokenize("some text", True)
    backend.embed(Embed(1, [tokens]))
    (event,) = _finish(backend)
    assert isinstance(event, Embedded)
    model, _ = load_plain(str(folder))
    last = np.array(model.model(mx.array([tokens]))[0, -1])
    assert np.allclose(np.frombuffer(event.vectors, "<f4"), last, atol=1e-4)


def test_a_prompt_of_numbers_that_are_no_tokens_fails_its_job(toy: ToyModels, opened: Open) -> None:
    backend = opened(toy.mlx)
    backend.submit(Generate(1, [1, 352], 5, GREEDY))
    assert _finish(backend) == [Failed(1, "token ids must be from 0 to 351", 400)]


def test_a_text_without_tokens_fails_its_job(toy: ToyModels, opened: Open) -> None:
    backend = opened(toy.mlx)
    backend.embed(Embed(1, [[]]))
    (event,) = _finish(backend)
    assert isinstance(event, Failed)
    assert event.status == 400


def test_when_the_batch_fails_every_job_hears_it_and_the_next_one_works(
    toy: ToyModels, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = opened(toy.mlx)
    expected = _tokens(backend)
    for id in (1, 2):
        backend.submit(Generate(id, backend.tokenize(CHAT, True), 20, GREEDY))
    for _ in range(4):
        backend.step()

    def exhausted(self: BatchGenerator) -> None:
        raise RuntimeError("[metal::malloc] out of memory")

    with monkeypatch.context() as patch:  # memory does not run out on demand
        patch.setattr(BatchGenerator, "next", exhausted)
        events = backend.step()
    assert {(type(e), e.id) for e in events} == {(Failed, 1), (Failed, 2)}
    assert all("out of memory" in e.reason for e in events if isinstance(e, Failed))
    assert not backend.busy
    assert _tokens(backend) == expected


def test_a_grammar_that_fails_on_the_way_takes_no_neighbour_along(
    toy: ToyModels, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = opened(toy.mlx)
    expected, calls = _tokens(backend), []

    def breaks(self: Matcher, token: int) -> None:
        calls.append(token)
        if len(calls) == 3:
            raise OllmlxError("the grammar is too deep")
        plain(self, token)

    plain = Matcher.consume
    monkeypatch.setattr(Matcher, "consume", breaks)  # llguidance does not fail on demand
    prompt = backend.tokenize(CHAT, True)
    backend.submit(Generate(1, prompt, 24, GREEDY))
    backend.submit(Generate(2, prompt, 24, GREEDY, grammar=from_format("json")))
    events = _finish(backend)
    assert [e.reason for e in events if isinstance(e, Failed)] == ["the grammar is too deep"]
    assert [t for e in events if isinstance(e, Delta) and e.id == 1 for t in e.tokens] == expected


def test_a_prompt_that_a_running_answer_has_read_is_not_read_again(
    toy: ToyModels, opened: Open
) -> None:
    backend, fresh = opened(toy.mlx), opened(toy.mlx)
    prompts = [backend.tokenize(CHAT * 4 + end, True) for end in ("one", "two")]
    for id, prompt in enumerate(prompts):
        backend.submit(Generate(id, prompt, 24, GREEDY))
    events = _finish(backend)
    usages = {event.id: event.usage for event in events if event.usage}
    assert [usages[id].cached_tokens for id in (0, 1)] == [0, len(prompts[0]) - 3]
    for id, prompt in enumerate(prompts):
        assert [t for e in events if e.id == id for t in e.tokens] == _tokens(fresh, prompt)


@pytest.fixture
def hybrid(folder: Path) -> Path:
    """A model of one convolution and one attention layer: its cache cannot be cut."""
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "lfm2",
        "norm_eps": 1e-5,
        "conv_bias": False,
        "conv_L_cache": 3,
        "block_dim": HIDDEN,
        "block_ff_dim": 128,
        "block_multiple_of": 32,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
        "layer_types": ["conv", "full_attention"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    mx.random.seed(1)
    model = lfm2.Model(lfm2.ModelArgs.from_dict(config))
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    return folder


def test_a_hybrid_models_next_turn_starts_at_the_last_boundary(hybrid: Path, opened: Open) -> None:
    backend, fresh = opened(hybrid), opened(hybrid)
    first = backend.tokenize("the first turn, which is long enough to be worth keeping" * 2, True)
    _tokens(backend, first)
    turn = first[:-10] + backend.tokenize(" and then another, quite different one", False)
    backend.submit(Generate(1, turn, 20, GREEDY))
    events = _finish(backend)
    usage = events[-1].usage
    assert usage.cached_tokens == len(first) - 16
    assert [t for e in events for t in e.tokens] == _tokens(fresh, turn, 20)


def test_a_hybrid_model_joins_batches_like_any_other(hybrid: Path, opened: Open) -> None:
    backend = opened(hybrid)
    prompts = [backend.tokenize(text, True) for text in ("one thing", "another, longer thing")]
    alone = [_tokens(backend, prompt) for prompt in prompts]
    for id, prompt in enumerate(prompts):
        backend.submit(Generate(id, prompt, 24, GREEDY))
    events = _finish(backend)
    assert [[t for e in events if e.id == i for t in e.tokens] for i in (0, 1)] == alone


def test_a_flat_product_gives_the_same_bits() -> None:
    mx.random.seed(0)
    layers = nn.Sequential(nn.Linear(64, 96, bias=True), nn.Embedding(96, 64))
    nn.quantize(layers, group_size=32, bits=4)
    linear, embedding = layers.layers
    shapes = [(4, 1, 64), (1, 1, 64), (2, 3, 64), (5, 64)]
    inputs = [mx.random.normal(shape) for shape in shapes]
    before = [(linear(x), embedding.as_linear(x)) for x in inputs]
    flatten_rows(layers)
    for x, (through, tied) in zip(inputs, before, strict=True):
        assert linear(x).shape == through.shape
        assert mx.array_equal(linear(x), through)
        assert mx.array_equal(embedding.as_linear(x), tied)


def test_kernels_are_compiled_for_as_many_rows_as_may_run(toy: ToyModels) -> None:
    model, _ = load_plain(str(toy.mlx))
    seen: list[tuple[int, ...]] = []

    class Watched:
        layers = model.layers

        def __call__(self, tokens: mx.array, cache: list[Any]) -> mx.array:
            seen.append(tokens.shape)
            return model(tokens, cache=cache)

    warm(Watched(), 352, 31)
    assert seen == [(8, 1)]


def test_a_thread_that_closes_its_backend_lets_the_process_end_well(toy: ToyModels) -> None:
    program = f"""
import threading
from ollmlx.engine.jobs import Generate, LoadOptions, Sampling
from ollmlx.engine.mlx.backend import MlxBackend

def work():
    backend = MlxBackend({str(toy.mlx)!r}, LoadOptions(num_ctx=64), lambda fraction: None)
    backend.submit(Generate(1, [1, 2, 3], 5, Sampling()))
    while backend.busy:
        backend.step()
    backend.close()

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()

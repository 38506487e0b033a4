"""POST /api/embed with a small window, as Ollama's own integration tests ask it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import ollama
import pytest

from ollmlx.api.embed import _was_raw
from ollmlx.settings import Settings
from tests.convert.tiny import write_gguf
from tests.serving import served

QUESTION = "the cat is on the mat"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ollama.Client]:
    settings = Settings(models=tmp_path_factory.mktemp("models"), embedded=False)
    with served(settings) as url, ollama.Client(url, trust_env=False) as opened:
        yield opened


def test_a_text_is_cut_to_fewer_tokens_than_a_model_is_loaded_with(client, toy_bert: Path):
    word = client.embed(str(toy_bert), "the")
    cut = client.embed(str(toy_bert), QUESTION, options={"num_ctx": 3})
    assert cut.prompt_eval_count == word.prompt_eval_count == 3
    assert cut.embeddings[0] == pytest.approx(word.embeddings[0], abs=1e-4)


@pytest.mark.parametrize("num_ctx", [1, 0, -1])
def test_a_window_without_room_for_a_token_is_refused(client, toy_bert: Path, num_ctx):
    with pytest.raises(ollama.ResponseError, match="input after truncation exceeds") as refused:
        client.embed(str(toy_bert), QUESTION, options={"num_ctx": num_ctx})
    assert refused.value.status_code == 400


def test_what_may_not_be_cut_is_refused(client, toy_bert: Path):
    with pytest.raises(ollama.ResponseError, match="input length exceeds the context length"):
        client.embed(str(toy_bert), QUESTION, truncate=False, options={"num_ctx": 3})


def test_the_old_endpoint_answers_vectors_of_length_one_where_ollamas_runner_did(client, toy_bert):
    (new,) = client.embed(str(toy_bert), QUESTION).embeddings
    assert client.embeddings(str(toy_bert), QUESTION).embedding == pytest.approx(new, abs=1e-6)


def test_the_old_endpoint_cuts_no_text(client, toy_bert):
    with pytest.raises(ollama.ResponseError, match="input length exceeds") as refused:
        client.embeddings(str(toy_bert), QUESTION, options={"num_ctx": 4})
    assert refused.value.status_code == 500


@pytest.mark.parametrize(
    ("arch", "keys", "raw"),
    [
        ("bert", {"pooling_type": 1}, False),
        ("bert", {"pooling_type": 1, "normalize_embeddings": False}, True),
        ("bert", {"pooling_type": 1, "tokenizer.ggml.model": "t5"}, True),
        ("nomic-bert", {"pooling_type": 1}, True),
        ("nomic-bert", {"pooling_type": 1, "normalize_embeddings": True}, False),
        ("bert", {}, False),
        ("llama", {"pooling_type": 3}, False),
    ],
)
def test_the_old_route_leaves_lengths_as_ollamas_old_runner_did(tmp_path: Path, arch, keys, raw):
    meta = {"general.architecture": arch}
    meta |= {key if "." in key else f"{arch}.{key}": value for key, value in keys.items()}
    write_gguf(tmp_path / "m.gguf", meta, {"token_embd.weight": np.zeros((4, 32), np.float32)})
    assert _was_raw("gguf", tmp_path / "m.gguf") is raw

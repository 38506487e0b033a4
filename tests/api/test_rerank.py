"""/api/rerank and /v1/rerank: a cross-encoder of random weights, and Qwen3-Reranker in small."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollmlx.engine.mlx.ranking import RANKING
from ollmlx.settings import Settings
from tests import toy_ranker
from tests.bert import make_toy_ranker
from tests.serving import served

DOCUMENTS = ["the cat sat on the mat", "king and queen", "paris is france"]


@pytest.fixture(scope="module")
def ranker(tmp_path_factory) -> Path:
    return make_toy_ranker(tmp_path_factory.mktemp("ranker"))


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    with served(Settings(models=tmp_path_factory.mktemp("models"))) as url:
        yield url


async def rank(client: httpx.AsyncClient, path: str, **fields: Any) -> httpx.Response:
    return await client.post(path, json={"query": "cat", "documents": DOCUMENTS, **fields})


async def test_documents_come_back_best_first(client, ranker):
    answer = (await rank(client, "/api/rerank", model=str(ranker))).json()
    scores = {found["index"]: found["relevance_score"] for found in answer["results"]}
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert sorted(scores) == [0, 1, 2]
    assert all(0 < score < 1 for score in scores.values())
    alone = await rank(client, "/api/rerank", model=str(ranker), documents=DOCUMENTS[2:])
    assert alone.json()["results"][0]["relevance_score"] == pytest.approx(scores[2], abs=1e-5)
    best = await rank(client, "/api/rerank", model=str(ranker), top_n=1, return_documents=True)
    (first,) = best.json()["results"]
    assert first["document"] == {"text": DOCUMENTS[first["index"]]}


async def test_the_other_spelling_answers_as_other_servers_do(client, ranker):
    texts = [{"text": text} for text in DOCUMENTS]
    answer = (await rank(client, "/v1/rerank", model=str(ranker), documents=texts)).json()
    assert list(answer) == ["object", "model", "results", "usage"]
    assert answer["usage"]["total_tokens"] > 0
    assert len(answer["results"]) == 3


async def test_a_document_is_cut_to_fit_unless_that_is_forbidden(client, ranker):
    long = {"model": str(ranker), "documents": ["cat " * 100], "options": {"num_ctx": 16}}
    cut = (await rank(client, "/api/rerank", **long)).json()
    assert cut["prompt_eval_count"] == 16
    refused = await rank(client, "/api/rerank", **long, truncate=False)
    assert (refused.status_code, refused.json()["error"]) == (
        400,
        "a query and its document exceed the context length",
    )
    query = await rank(client, "/api/rerank", **{**long, "query": "cat " * 100})
    assert query.status_code == 400


async def test_a_model_of_vectors_is_no_ranker(client, toy_bert):
    refused = await rank(client, "/v1/rerank", model=str(toy_bert))
    assert refused.status_code == 400
    assert "it takes a cross-encoder" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "model is required"),
        ({"model": "m", "query": ""}, "query is required"),
        ({"model": "m", "documents": []}, "documents are required"),
        ({"model": "m", "documents": [5]}, 'a document must be a text, or an object with a "text"'),
        ({"model": "m", "top_n": 0}, "top_n must be at least 1"),
    ],
)
async def test_what_cannot_be_ranked_is_refused(client, fields, message):
    refused = await rank(client, "/api/rerank", **fields)
    assert (refused.status_code, refused.json()) == (400, {"error": message})


@pytest.fixture(params=["gguf", "mlx"])
def judging(tmp_path_factory, request) -> str:
    """The path of a Qwen3-Reranker."""
    folder = tmp_path_factory.mktemp("judge")
    if request.param == "gguf":
        return str(toy_ranker.make_gguf(folder))
    return str(toy_ranker.make_mlx(folder / "Qwen3-Reranker-toy"))


async def test_qwen3_rerankers_score_by_how_sure_their_yes_is(client, judging):
    documents = ["one!", "none", "!!!!", "!!" + "long " * 300]
    answer = (await rank(client, "/v1/rerank", model=judging, documents=documents)).json()
    assert [found["index"] for found in answer["results"]] == [2, 0, 3, 1]
    scores = {found["index"]: found["relevance_score"] for found in answer["results"]}
    template = toy_ranker.TEMPLATE if judging.endswith("gguf") else RANKING.template
    for index, document in enumerate(documents):
        text = template.replace("{query}", "cat").replace("{document}", document)
        body = {"model": judging, "text": text, "special": False}
        tokens = (await client.post("/api/tokenize", json=body)).json()["tokens"]
        expected = toy_ranker.probability(document.count(toy_ranker.MARK) / len(tokens))
        assert scores[index] == pytest.approx(expected, abs=2e-3)
    assert scores[2] - scores[1] > 0.03


async def test_a_document_is_cut_to_fit_into_a_template(client, judging):
    long = {"model": judging, "documents": ["!" * 900], "options": {"num_ctx": 512}}
    cut = (await rank(client, "/api/rerank", **long)).json()
    assert cut["prompt_eval_count"] == 512
    assert (await rank(client, "/api/rerank", **long, truncate=False)).status_code == 400
    too_much = await rank(client, "/api/rerank", **{**long, "query": "cat " * 600})
    assert too_much.status_code == 400


async def test_a_qwen3_of_another_name_is_no_ranker(client, tmp_path):
    refused = await rank(client, "/v1/rerank", model=str(toy_ranker.make_mlx(tmp_path / "qwen3")))
    assert refused.status_code == 400
    told = toy_ranker.make_mlx(tmp_path / "told")
    (told / "README.md").write_text("# Mine\nbase_model: Qwen/Qwen3-Reranker-0.6B")
    assert (await rank(client, "/v1/rerank", model=str(told))).status_code == 200

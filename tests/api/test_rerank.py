"""/api/rerank and /v1/rerank with a cross-encoder of random weights."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollmlx.room import Room
from ollmlx.settings import Settings
from tests.bert import make_toy_ranker

DOCUMENTS = ["the cat sat on the mat", "king and queen", "paris is france"]


@pytest.fixture(scope="module")
def ranker(tmp_path_factory) -> Path:
    return make_toy_ranker(tmp_path_factory.mktemp("ranker"))


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    room = Room(Settings(models=tmp_path_factory.mktemp("models")))
    room.start()
    yield f"http://127.0.0.1:{room.open_door('127.0.0.1', 0)}"
    room.stop()


@pytest.fixture
async def client(url) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as opened:
        yield opened


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

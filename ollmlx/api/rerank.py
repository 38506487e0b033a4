"""POST /api/rerank and /v1/rerank, which Ollama does not have: documents by how well they answer a
query.

Only models that read a query and a document together rank.  How near two vectors are is
another measure, and an embedding model is told so.
"""

import re
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ollmlx.api import options, requests
from ollmlx.api.answers import Answer, Whole
from ollmlx.api.engine import Engine
from ollmlx.api.openai.envelope import whole
from ollmlx.engine.jobs import Ranking
from ollmlx.engine.process import ModelProcess
from ollmlx.errors import BadRequest
from ollmlx.wire import additions, openai

TOO_LONG = "a query and its document exceed the context length"
_PLACE = re.compile(r"\{(query|document)\}")


async def rerank(engine: Engine, request: additions.RerankRequest) -> Answer:
    return Whole(await _ranked(engine, request))


async def openai_rerank(engine: Engine, request: additions.RerankRequest) -> Answer:
    """As Jina, vLLM and llama.cpp answer."""
    answer = await _ranked(engine, request)
    usage = openai.EmbeddingsUsage(answer.prompt_eval_count, answer.prompt_eval_count)
    return whole(openai.RerankList("list", answer.model, answer.results, usage))


async def _ranked(engine: Engine, request: additions.RerankRequest) -> additions.RerankResponse:
    started = time.perf_counter_ns()
    texts = _checked(request)
    model = await requests.find(engine, request.model)
    merged = options.merge(model, request.options)
    async with requests.lend(engine, model, merged, request.keep_alive) as process:
        loaded = time.perf_counter_ns()
        ranking = process.info.ranking
        if ranking is None:
            raise BadRequest(
                f'"{request.model}" does not support rerank: it takes a cross-encoder, and this'
                " model does not read a query and a document together"
            )
        read = await _read(process, ranking, request, texts)
        scores = _scores(await process.embed(read))
    best = np.argsort(-scores, kind="stable")[: request.top_n]
    return additions.RerankResponse(
        request.model,
        [_result(request, texts, int(index), float(scores[index])) for index in best],
        time.perf_counter_ns() - started,
        loaded - started,
        sum(map(len, read)),
    )


def _checked(request: additions.RerankRequest) -> list[str]:
    """The documents' texts."""
    if not request.model.strip():
        raise BadRequest("model is required")
    if not request.query:
        raise BadRequest("query is required")
    if not request.documents:
        raise BadRequest("documents are required")
    if request.top_n is not None and request.top_n < 1:
        raise BadRequest("top_n must be at least 1")
    return [_text(document) for document in request.documents]


def _text(document: Any) -> str:
    match document:
        case str(text) | {"text": str(text)}:
            return text
    raise BadRequest('a document must be a text, or an object with a "text"')


async def _read(
    process: ModelProcess, ranking: Ranking, request: additions.RerankRequest, texts: list[str]
) -> list[list[int]]:
    """The tokens of the query with each of the documents, none longer than the window."""
    window = process.info.num_ctx
    if ranking.template:
        filled = [_filled(ranking.template, request.query, text) for text in texts]
        pairs = await process.tokenize(filled, special=False)
        return [
            pair if len(pair) <= window else await _cut(process, ranking.template, request, text)
            for pair, text in zip(pairs, texts, strict=True)
        ]
    query, *documents = await process.tokenize([request.query, *texts], special=False)
    before = [*ranking.before, *query, *ranking.between]
    room = window - len(before) - len(ranking.after)
    longest = max(map(len, documents))
    if room < 1 or (longest > room and request.truncate is False):
        raise BadRequest(TOO_LONG)
    return [[*before, *tokens[:room], *ranking.after] for tokens in documents]


async def _cut(
    process: ModelProcess, template: str, request: additions.RerankRequest, text: str
) -> list[int]:
    """The tokens with as much of the document as fits.

    It is cut as a text: at its borders a template's tokens grow together with those of what it
    takes in.
    """
    window = process.info.num_ctx
    (document,) = await process.tokenize([text], special=False)
    while document and request.truncate is not False:
        kept = await process.detokenize(document)
        (pair,) = await process.tokenize([_filled(template, request.query, kept)], special=False)
        if len(pair) <= window:
            return pair
        document = document[: window - len(pair)]
    raise BadRequest(TOO_LONG)


def _filled(template: str, query: str, document: str) -> str:
    return _PLACE.sub(lambda place: query if place[1] == "query" else document, template)


def _scores(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Between 0 and 1.  One number a pair is a logit; with more, llama.cpp has made them
    probabilities, and the first is that of a match.
    """
    first = vectors[:, 0].astype(np.float64)
    return 1 / (1 + np.exp(-first)) if vectors.shape[1] == 1 else first


def _result(
    request: additions.RerankRequest, texts: list[str], index: int, score: float
) -> additions.Ranked:
    document = additions.RankedDocument(texts[index]) if request.return_documents else None
    return additions.Ranked(index, score, document)

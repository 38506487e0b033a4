"""GET /v1/models and /v1/models/{name}, which OpenAI and Anthropic both have: a header tells."""

import asyncio

from ollmlx.api import models, requests
from ollmlx.api.answers import Answer
from ollmlx.api.engine import Engine
from ollmlx.api.openai.envelope import whole
from ollmlx.errors import Malformed, NotFound
from ollmlx.store.model import Model
from ollmlx.wire import anthropic as wire
from ollmlx.wire.encode import timestamp

_USUAL, _MOST = 20, 1000


async def listing(engine: Engine, request: wire.ModelsRequest) -> Answer:
    if not request.anthropic_version:
        return await models.openai_models(engine, "")
    infos = [_info(model) for model in await asyncio.to_thread(engine.library.list)]
    rest = _between(infos, request)
    limit = _limit(request.limit)
    # Going backwards, a page is what stands just before.
    page = rest[-limit:] if request.before_id else rest[:limit]
    first, last = (page[0].id, page[-1].id) if page else (None, None)
    return whole(wire.ModelPage(page, len(rest) > limit, first, last))


async def one(engine: Engine, request: wire.ModelsRequest) -> Answer:
    if not request.anthropic_version:
        return await models.openai_model(engine, request.parameter)
    return whole(_info(await requests.find(engine, request.parameter)))


def _between(infos: list[wire.ModelInfo], request: wire.ModelsRequest) -> list[wire.ModelInfo]:
    ids = [info.id for info in infos]
    for name in filter(None, (request.after_id, request.before_id)):
        if name not in ids:
            raise NotFound(f"model '{name}' not found")
    start = ids.index(request.after_id) + 1 if request.after_id else 0
    return infos[start : ids.index(request.before_id) if request.before_id else None]


def _limit(limit: str) -> int:
    if not limit:
        return _USUAL
    if not limit.isdecimal() or not 1 <= int(limit) <= _MOST:
        raise Malformed(f"limit must be between 1 and {_MOST}")
    return int(limit)


def _info(model: Model) -> wire.ModelInfo:
    return wire.ModelInfo("model", model.name, model.name, timestamp(model.modified_at))

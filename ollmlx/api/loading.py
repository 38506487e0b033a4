"""Models loaded, unloaded, stopped and pinned by hand, and what is loaded now."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import datetime

from ollmlx.api import options, requests
from ollmlx.api.answers import Answer, Whole
from ollmlx.api.engine import Engine
from ollmlx.api.progress import answered
from ollmlx.engine.pool import Resident
from ollmlx.errors import BadRequest, NotFound
from ollmlx.settings import FOREVER
from ollmlx.store.model import Model
from ollmlx.wire import live
from ollmlx.wire.encode import timestamp
from ollmlx.wire.native import ProgressResponse

_LOOK_SECONDS = 0.1
_WHOLE = 100
"""A load's progress is in percent."""


async def load(engine: Engine, request: live.LoadRequest) -> Answer:
    return await answered(_loading(engine, request), request.stream)


async def _loading(
    engine: Engine, request: live.LoadRequest
) -> AsyncGenerator[ProgressResponse, None]:
    """Progress until the model is loaded.  Hanging up leaves the load; `unload` ends it."""
    model = await _model(engine, request.model)
    merged = options.merge(model, request.options)
    lent = requests.lend(engine, model, merged, request.keep_alive, request.anyway)
    async with AsyncExitStack() as stack:
        entering = asyncio.ensure_future(stack.enter_async_context(lent))
        told = None
        try:
            while not entering.done():
                if (progress := _progress(engine, model)) != told:
                    told = progress
                    yield progress
                await asyncio.wait({entering}, timeout=_LOOK_SECONDS)
            entering.result()
        finally:
            entering.cancel()
            await asyncio.wait({entering})
    yield ProgressResponse("success")


def _progress(engine: Engine, model: Model) -> ProgressResponse:
    resident = engine.pool.resident(model.path)
    if not resident:
        return ProgressResponse("waiting")
    return ProgressResponse("loading", "", _WHOLE, int(resident.fraction * _WHOLE))


async def unload(engine: Engine, request: live.UnloadRequest) -> Answer:
    model = await _model(engine, request.model)
    if request.now:
        await engine.pool.stop(model.path)
    else:
        engine.pool.unload(model.path)
    return Whole(ProgressResponse("success"))


async def keep(engine: Engine, request: live.KeepRequest) -> Answer:
    """Whatever a model was loaded with, it only changes how long it stays."""
    model = await _model(engine, request.model)
    seconds = request.keep_alive
    if not engine.pool.keep(model.path, engine.settings.keep_alive if seconds is None else seconds):
        raise NotFound(f"model '{request.model}' is not loaded")
    return Whole(ProgressResponse("success"))


async def running(engine: Engine, _: str) -> Answer:
    return Whole(live.LiveModels(list(residents(engine).values())))


def residents(engine: Engine) -> dict[str, live.LiveModel]:
    """By name."""
    shown = (_shown(resident) for resident in engine.pool.residents())
    return {model.name: model for model in shown}


def _shown(resident: Resident) -> live.LiveModel:
    model: Model = resident.wanted.subject
    process, wanted = resident.process, resident.wanted.load.options
    info = process.info if process else None
    pinned = resident.keep_alive == FOREVER
    idle = process is not None and not resident.users and not pinned
    expires = datetime.fromtimestamp(resident.expires_at).astimezone() if idle else None
    return live.LiveModel(
        name=model.name,
        digest=model.digest,
        format=model.format,
        status="leaving" if resident.leaving else "ready" if process else "loading",
        fraction=1.0 if process else resident.fraction,
        users=resident.users,
        pinned=pinned,
        expires_at=timestamp(expires) if expires else "",
        size=info.size if info else model.size,
        size_vram=info.size_vram if info else 0,
        context_length=info.num_ctx if info else wanted.num_ctx,
        parallel=resident.options.num_parallel if resident.options else 0,
    )


async def _model(engine: Engine, name: str) -> Model:
    if not name.strip():
        raise BadRequest("model is required")
    return await requests.find(engine, name)

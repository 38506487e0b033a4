"""What a model would take of memory and disk, and how that is reckoned, before it is loaded."""

import asyncio
from dataclasses import dataclass

from ollmlx import names
from ollmlx.api import options, requests, transfers
from ollmlx.api.answers import Answer, Whole
from ollmlx.api.engine import Engine
from ollmlx.engine import fit
from ollmlx.errors import BadRequest, NotFound
from ollmlx.store.memory import needs
from ollmlx.store.ollama.blobs import free_bytes
from ollmlx.wire import live


@dataclass(frozen=True)
class _Subject:
    """What is known of a model."""

    weights: int
    num_ctx: int
    num_parallel: int
    cache_per_token: int | None = None
    download: int = 0
    loaded: bool = False
    installed: bool = False
    format: str = "gguf"


async def estimate(engine: Engine, request: live.EstimateRequest) -> Answer:
    """The same sums as a load does."""
    if not request.model.strip():
        raise BadRequest("model is required")
    if min(request.num_ctx, request.num_parallel) < 0:
        raise BadRequest("num_ctx and num_parallel must not be negative")
    try:
        subject = await _installed(engine, request)
    except NotFound:
        subject = await _absent(engine, request)
    demand = await asyncio.to_thread(
        fit.demand,
        subject.format,
        subject.weights,
        subject.cache_per_token or 0,
        subject.num_ctx,
        subject.num_parallel,
        request.num_gpu,
    )
    disk = await asyncio.to_thread(free_bytes, engine.settings.models)
    return Whole(_answer(request, subject, demand, disk))


def _answer(
    request: live.EstimateRequest, subject: _Subject, demand: fit.Demand, disk: int
) -> live.EstimateResponse:
    known = subject.cache_per_token is not None
    beside = "" if known else "; what a token of context takes is known when the model is here"
    return live.EstimateResponse(
        model=request.model,
        installed=subject.installed,
        weights=demand.weights,
        cache_per_token=subject.cache_per_token,
        num_ctx=demand.num_ctx,
        num_parallel=demand.slots,
        cache=demand.cache,
        overhead=fit.OVERHEAD,
        needed=demand.needed,
        free=demand.room,
        on_gpu=demand.on_gpu,
        fits=demand.fits,
        loaded=subject.loaded,
        download=subject.download,
        disk_free=disk,
        arithmetic=f"{demand}{beside}",
    )


async def _installed(engine: Engine, request: live.EstimateRequest) -> _Subject:
    """Raises `NotFound`."""
    model = await requests.find(engine, request.model)
    asked = {"num_ctx": request.num_ctx or None}
    merged = options.merge(model, asked)
    how, _ = await asyncio.to_thread(options.load_options, merged, model, engine.settings)
    beside = await asyncio.to_thread(needs, model, how.kv_cache_type)
    return _Subject(
        weights=model.size,
        num_ctx=how.num_ctx,
        num_parallel=request.num_parallel or how.num_parallel,
        cache_per_token=beside.cache_per_token,
        loaded=engine.pool.resident(model.path) is not None,
        installed=True,
        format=model.format,
    )


async def _absent(engine: Engine, request: live.EstimateRequest) -> _Subject:
    """Asks whoever a pull would ask."""
    text = request.model
    if names.as_path(text):
        raise NotFound(f"model '{text}' not found")
    wanted = await transfers.look_up(engine, transfers.pulled_name(text), request.insecure)
    default = await asyncio.to_thread(fit.default_context, "gguf")
    return _Subject(
        weights=wanted.size,
        num_ctx=request.num_ctx or engine.settings.context_length or default,
        num_parallel=request.num_parallel or engine.settings.num_parallel,
        download=wanted.missing,
    )

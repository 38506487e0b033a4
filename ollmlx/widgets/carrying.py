"""Requests that a page makes of the server, carried by the kernel: the page knows no address and no
token.
"""

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httpx

from ollmlx.errors import OllmlxError, unwrapped
from ollmlx.servers import find
from ollmlx.widgets.widget import TROUBLES, Said, Widget, words

_AGAIN_SECONDS = 2.0
"""Between two looks for a server that went away."""
_PREFIX = "/api/"


class Refused(OllmlxError):
    """The server's own words."""


class NotTheApi(OllmlxError):
    """A page may ask for what is below /api, and no more."""


class Carrier(Widget):
    """A widget whose page speaks to the server through `front/comm.js`."""

    def __init__(self, host: str | None = None) -> None:
        super().__init__()
        self._host = host
        self._following: dict[str, asyncio.Task[None]] = {}
        self._left: set[str] = set()

    async def answer(self, said: Said) -> None:
        page = said["page"]
        if said["kind"] == "follow":
            # Said again until it is heard; and a cell may keep it until the page has left.
            if page not in self._following and page not in self._left:
                self._following[page] = asyncio.create_task(self._follow(page))
        elif said["kind"] == "leave":
            self._left.add(page)
            if task := self._following.pop(page, None):
                task.cancel()
        else:
            await self._carry(said)

    async def _carry(self, said: Said) -> None:
        try:
            outcome = {"answer": await self._asked(said)}
        except TROUBLES as error:
            outcome = {"error": words(error)}
        self.tell(kind="answer", page=said["page"], id=said["id"], **outcome)

    async def _asked(self, said: Said) -> Any:
        if said["kind"] == "endpoint":
            return (await asyncio.to_thread(find, self._host)).url
        if not said["path"].startswith(_PREFIX):
            raise NotTheApi(f"{said['path']} is not below {_PREFIX}")
        async with await self._connected() as http:
            response = await http.request(said["method"], said["path"], json=said["body"])
        return _document(response)

    async def _follow(self, page: str) -> None:
        """Pass on the stream of changes for as long as the page is there."""
        while True:
            try:
                await self._events(lambda event: self.tell(kind="event", page=page, event=event))
                lost = "the server has ended; looking for it again …"
            except TROUBLES as error:
                lost = words(error)
            self.tell(kind="lost", page=page, text=lost)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _events(self, hear: Callable[[Any], None]) -> None:
        async with (
            await self._connected() as http,
            http.stream("GET", "/api/ollmlx/events") as response,
        ):
            if not response.is_success:
                await response.aread()
                _document(response)
            async for line in response.aiter_lines():
                hear(json.loads(line))

    async def _connected(self) -> httpx.AsyncClient:
        """Found anew each time: the server may be another by now."""
        return await asyncio.to_thread(_client, self._host)


def _client(host: str | None) -> httpx.AsyncClient:
    """Blocks.  Without a timeout: a load takes what it takes, and silent streams have pings."""
    server = find(host)
    return httpx.AsyncClient(base_url=server.url, timeout=None, **server.options)


def _document(response: httpx.Response) -> Any:
    """The JSON of an answer.  Raises `Refused`."""
    answered = f"the server answered {response.status_code}"
    try:
        document = response.json() if response.content else {}
    except ValueError as error:
        absent = response.status_code == HTTPStatus.NOT_FOUND  # a page, where no API is
        raise Refused(unwrapped(response.text) if absent else answered) from error
    if response.is_success:
        return document
    raise Refused(document.get("error") or answered)

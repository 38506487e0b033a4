"""The engine room: a thread with its own event loop, where the pool, the operations and the open
door live.

Whatever another extension does to Jupyter's loop, streams here go on; and a synchronous client
inside the server can call the door without a deadlock.  Tests give it a library of echo models
instead of a store.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from tornado.httpserver import HTTPServer

from ollmlx.errors import OllmlxError
from ollmlx.frames import MAX_BODY, Body, Frame, Request
from ollmlx.settings import Settings, is_loopback

if TYPE_CHECKING:  # see `Room._service`
    from ollmlx.api.engine import Models
    from ollmlx.api.telemetry import Family
    from ollmlx.service import Service

log = logging.getLogger(__name__)
T = TypeVar("T")


class Room:
    def __init__(self, settings: Settings, library: "Models | None" = None) -> None:
        self._settings, self._library = settings, library
        self._made: Service | None = None
        self._making = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="ollmlx", daemon=True)
        self._doors: list[HTTPServer] = []
        self._exchanges: dict[asyncio.Task[None], str] = {}
        """Requests that came through `exchange`, and their methods."""
        self._stopping = threading.Lock()

    def start(self, take_over: bool = True) -> None:
        """Start the thread; returns when its loop runs and the store is tidy.

        `take_over`: go on with the jobs that servers before this one have left.  Raises
        `OllmlxError` where `stop` came first: a server can be ended while it starts.
        """
        service = self._service
        with self._stopping:
            if self._loop.is_closed():
                raise OllmlxError("ended before it had started")
            self._thread.start()
        self._call(service.settle(take_over)).result()

    def open_door(self, host: str, port: int, secret: str = "") -> int:
        """Listen for plain clients; port 0 is any free one.  With a secret only `/t/<secret>/…` is
        served.

        Returns the port.  Raises `OSError` when it is taken.
        """
        listener = _listener(host, port)

        async def listen() -> None:
            application = self._service.door(is_loopback(host), secret)
            door = HTTPServer(application, max_body_size=MAX_BODY)
            door.add_sockets([listener])
            self._doors.append(door)

        self._call(listen()).result()
        return int(listener.getsockname()[1])

    async def exchange(self, request: Request) -> AsyncGenerator[Frame, None]:
        """`http.exchange` for callers on any other event loop.  Closing it cancels the request."""
        # No limit: an answer that nobody reads ends after ten windows of its model.
        here, frames = asyncio.get_running_loop(), asyncio.Queue[Frame | BaseException | None]()

        def put(item: Frame | BaseException | None) -> None:
            if not here.is_closed():
                here.call_soon_threadsafe(frames.put_nowait, item)

        pump = self._call(self._pump(request, put))
        # Cancelled means that the caller or the whole room is leaving: the stream just ends.
        pump.add_done_callback(lambda done: put(None if done.cancelled() else done.exception()))
        try:
            while (frame := await frames.get()) is not None:
                if isinstance(frame, BaseException):
                    raise frame
                yield frame
        finally:
            pump.cancel()

    def body(self) -> Body:
        """For a request whose route `streams_body`: put the chunks in from any loop."""
        return Body(self._loop)

    def streams_body(self, method: str, path: str) -> bool:
        """Whether a request's body is to be handed over as `Request.upload`."""
        return self._service.streams_body(method, path)

    def refusal(self, request: Request, status: int, message: str) -> bytes:
        """The body of an answer to a request that goes no further, as its API writes errors."""
        return self._service.refusal(request, status, message)

    def busy(self) -> bool:
        """Whether a request or a load is under way."""
        working = any(method != "GET" for method in list(self._exchanges.values()))
        return working or (self._made is not None and self._made.busy)

    def metrics(self) -> "Iterator[Family]":
        """What Prometheus is told, for callers on any thread."""
        return self._service.metrics()

    def listen(self, hear: Callable[[str, str, dict[str, Any]], None]) -> Callable[[], None]:
        """Have every happening told on the room's thread, which must not wait: its kind, a model's
        name and facts.  What ends that again.
        """
        return self._service.listen(hear)

    def stop(self) -> None:
        """Close the doors, unload every model, end the thread.  Idempotent, from any thread."""
        with self._stopping:
            if self._thread.is_alive():
                self._call(self._shut()).result()
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
            self._loop.close()

    @property
    def _service(self) -> "Service":
        with self._making:
            if self._made is None:
                # A third of a second of imports, which Jupyter's own start does not wait for.
                from ollmlx.service import Service

                self._made = Service(self._settings, self._library)
            return self._made

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        # At the end of the interpreter there are no new threads, and its own have been ended.
        with suppress(RuntimeError):
            self._loop.run_until_complete(self._loop.shutdown_default_executor())

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _pump(self, request: Request, put: Any) -> None:
        task = asyncio.current_task()
        assert task
        self._exchanges[task] = request.method
        try:
            async with aclosing(self._service.exchange(request)) as frames:
                async for frame in frames:
                    put(frame)
        finally:
            self._exchanges.pop(task, None)

    async def _shut(self) -> None:
        for door in self._doors:
            door.stop()
        for task in list(self._exchanges):
            task.cancel()
        await self._service.close()
        for door in self._doors:
            await door.close_all_connections()


def _listener(host: str, port: int) -> socket.socket:
    """No host is every address of the machine.  Leaves no socket behind when the port is taken."""
    everywhere = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if everywhere or ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, dualstack_ipv6=everywhere)
    listener.setblocking(False)
    return listener

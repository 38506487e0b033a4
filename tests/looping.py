"""A Tornado application on a free port, in a thread with an event loop of its own."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application


@contextmanager
def running(application: Application) -> Iterator[int]:
    """Its port; everything has ended behind the block."""
    socket, port = bind_unused_port()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        server = HTTPServer(application)
        server.add_socket(socket)
        await stop.wait()
        server.stop()
        await server.close_all_connections()

    thread = Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()

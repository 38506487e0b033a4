"""A Jupyter server with the extension in it, and a plain HTTP client of its mount."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pytest_jupyter.jupyter_server import *  # noqa: F403  # here only: some make a server for every test
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from jupyter_ext.app import OllmlxApp
from tests.jupyter_ext.scripted import ScriptedRoom

Call = Callable[..., Awaitable[HTTPResponse]]


@pytest.fixture
async def jp_asyncio_loop():
    """The loop the test itself runs on: pytest-jupyter's own is another one."""
    return asyncio.get_running_loop()


@pytest.fixture
def jp_server_config():
    return {
        "ServerApp": {"jpserver_extensions": {"tests.jupyter_ext.scripted": True}},
        "OllmlxApp": {"allowed_hosts": ["Friend.example"]},
    }


@pytest.fixture
def extension(jp_serverapp) -> OllmlxApp:
    return jp_serverapp.extension_manager.extension_points["ollmlx"].app


@pytest.fixture
def room(extension) -> ScriptedRoom:
    return extension.room


@pytest.fixture
def token(jp_serverapp) -> str:
    return jp_serverapp.identity_provider.token


@pytest.fixture
def call(jp_serverapp, jp_http_port, http_server) -> Call:
    """Ask below the mount (or below Jupyter's root), without any credentials of its own."""

    async def call(method: str, path: str, *, mount: str = "ollama", **options) -> HTTPResponse:
        url = f"http://127.0.0.1:{jp_http_port}{jp_serverapp.base_url}{mount}{path}"
        if method in ("POST", "PUT") and "body" not in options:
            options["body"] = "{}"
        return await AsyncHTTPClient().fetch(
            url,
            method=method,
            raise_error=False,
            follow_redirects=False,
            allow_nonstandard_methods=True,
            **options,
        )

    return call

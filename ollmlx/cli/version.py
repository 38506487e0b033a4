"""`--version`: the server's, and ours where it differs."""

from contextlib import closing

from ollmlx import __version__
from ollmlx.cli.connection import Connection, server
from ollmlx.cli.terminal import program, say
from ollmlx.errors import OllmlxError


def show_version() -> None:
    try:
        with closing(Connection(server())) as connection:
            theirs = str(connection.get("/api/version").get("version", ""))
    except OllmlxError:
        theirs = ""
        say("Warning: could not connect to a running Ollama instance")
    if theirs:
        say(f"{program()} version is {theirs}")
    if theirs != __version__:
        say(f"Warning: client version is {__version__}")

"""`--version`: the release of Ollama that the server speaks, ours where it differs, and our own."""

from contextlib import closing

from ollmlx import __version__
from ollmlx.cli.connection import Connection, server
from ollmlx.cli.terminal import program, say
from ollmlx.errors import OllmlxError
from ollmlx.wire.native import OLLAMA_VERSION


def show_version() -> None:
    try:
        with closing(Connection(server())) as connection:
            theirs = str(connection.get("/api/version").get("version", ""))
    except OllmlxError:
        theirs = ""
        say("Warning: could not connect to a running Ollama instance")
    if theirs:
        say(f"{program()} version is {theirs}")
    if theirs != OLLAMA_VERSION:
        say(f"Warning: client version is {OLLAMA_VERSION}")
    if program() == "ollmlx":
        say(f"ollmlx itself is {__version__}")

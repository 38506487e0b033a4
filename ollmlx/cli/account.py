"""`signin` and `signout`: the user's account at ollama.com, which pushing there needs."""

import webbrowser

from ollmlx.cli.connection import Connection, Document, Refused
from ollmlx.cli.flags import Words
from ollmlx.cli.terminal import say


def sign_in(_: Words, connection: Connection) -> None:
    user = account(connection, "You need to be signed in to Ollama to run Cloud models.", True)
    if user and user.get("name"):
        say(f"You are already signed in as user '{user['name']}'\n")


def account(connection: Connection, otherwise: str, browse: bool = False) -> Document | None:
    """None without one: the user is told `otherwise` and where to go."""
    try:
        return connection.post("/api/me")
    except Refused as error:
        if not error.unauthorized:
            raise
        say(f"{otherwise}\n")
        if error.sign_in_url:
            if browse:
                webbrowser.open(error.sign_in_url)
            say(f"If your browser did not open, navigate to:\n    {error.sign_in_url}\n")
        return None


def sign_out(_: Words, connection: Connection) -> None:
    try:
        connection.post("/api/signout")
    except Refused as error:
        if not error.unauthorized:
            raise
        say("You are not signed in to ollama.com\n")
    else:
        say("You have signed out of ollama.com\n")

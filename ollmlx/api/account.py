"""The user's account at ollama.com, which pushing there needs, and the routes of its cloud, which
ollmlx has no part in.

Only these requests ask ollama.com anything, and only when a client sends them.
"""

import base64
import json
import logging
import socket
import time
from http.client import HTTPException
from urllib.parse import quote

import msgspec

from ollmlx.api.answers import Answer, Whole
from ollmlx.api.engine import Engine
from ollmlx.api.transfers import ask
from ollmlx.errors import AccountUnavailable, Forbidden, NotSignedIn, OllmlxError
from ollmlx.store.places.shortnames import SHORT_NAMES, ShortName
from ollmlx.store.transfer.registry import USER_AGENT
from ollmlx.store.transfer.transport import Refused, Session
from ollmlx.wire import account as wire

SITE = "https://ollama.com"
_MOST_BYTES = 1 << 20
_log = logging.getLogger(__name__)


class NotSignedOut(OllmlxError):
    """ollama.com could not be told to forget the key."""

    def __init__(self) -> None:
        super().__init__("there was an error signing out")


async def me(engine: Engine, _: str) -> Answer:
    session = Session()
    try:
        data = await ask(session, lambda: _request(session, "POST", "/api/me"))
        user = msgspec.json.decode(data, type=wire.UserResponse)
    except Refused as error:
        if error.code != NotSignedIn.status:
            raise _unavailable(error) from error
        return await _not_signed_in(session, _given_address(error))
    except (OllmlxError, msgspec.DecodeError) as error:
        raise _unavailable(error) from error
    if not user.name:
        return await _not_signed_in(session)
    user.plan = user.plan.strip() or "free"
    return Whole(user)


def _unavailable(error: Exception) -> AccountUnavailable:
    _log.warning("the account at ollama.com cannot be asked for: %s", error)
    return AccountUnavailable()


async def _not_signed_in(session: Session, address: str = "") -> Answer:
    address = address or await ask(session, _sign_in_address)
    answer = wire.UnauthorizedResponse("unauthorized", address)
    return Whole(answer, status=NotSignedIn.status)


async def sign_out(engine: Engine, _: str) -> Answer:
    """Whatever key a path names, the user's own is forgotten, as in Ollama."""
    session = Session()
    try:
        await ask(session, lambda: _request(session, "DELETE", f"/api/user/keys/{_encoded_key()}"))
    except OllmlxError as error:
        if isinstance(error, Refused) and error.code == NotSignedIn.status:
            raise NotSignedIn("you are not currently signed in") from error
        _log.warning("not signed out of ollama.com: %s", error)
        raise NotSignedOut from error
    return Whole("null")


async def web_search(engine: Engine, _: wire.CloudRequest) -> Answer:
    raise Forbidden("ollama cloud is disabled: web search is unavailable")


async def web_fetch(engine: Engine, _: wire.CloudRequest) -> Answer:
    raise Forbidden("ollama cloud is disabled: web fetch is unavailable")


async def recommendations(engine: Engine, _: str) -> Answer:
    """Models with short names of our own; Ollama's list is mostly of models in its cloud."""
    return Whole(wire.RecommendationsResponse([_recommended(short) for short in SHORT_NAMES]))


def _recommended(short: ShortName) -> wire.Recommendation:
    description = f"{short.parameters} parameters of 4 bits, for MLX"
    return wire.Recommendation(short.name, description, vram_bytes=int(short.download * 1e9))


def _request(session: Session, method: str, path: str) -> bytes:
    """What ollama.com answers whom the user's key signs for.

    Raises `Refused`, `Unreachable`, `HungUp`, `BadKey` or `CannotStore`.
    """
    # Cryptography takes a while to import, and few ask for an account.
    from ollmlx.store.transfer import keys

    target = f"{path}?ts={int(time.time())}"
    headers = {
        "Authorization": keys.signature(keys.load(keys.key_path()), f"{method},{target}"),
        "User-Agent": USER_AGENT,
        "Content-Type": "application/json",
        "Accept": "application/json",
    }
    with session.open(method, SITE + target, headers, b"") as response:
        try:
            return response.read(_MOST_BYTES)
        except (OSError, HTTPException) as error:
            raise OllmlxError(f"{SITE}{path}: {error}") from error


def _given_address(error: Refused) -> str:
    """Where ollama.com itself says one signs in; empty when it does not."""
    try:
        address = json.loads(error.text)["signin_url"]
    except (ValueError, LookupError, TypeError):
        return ""
    return address if isinstance(address, str) else ""


def _sign_in_address() -> str:
    """Raises `BadKey` or `CannotStore`."""
    return f"{SITE}/connect?name={quote(socket.gethostname(), safe='')}&key={_encoded_key()}"


def _encoded_key() -> str:
    """The public key as addresses at ollama.com have it."""
    from ollmlx.store.transfer import keys

    public = keys.public(keys.load(keys.key_path()))
    return base64.urlsafe_b64encode(public.encode()).rstrip(b"=").decode()

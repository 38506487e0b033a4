"""A registry as Ollama and Docker speak it: manifests and blobs below `/v2/<namespace>/<model>`.

Source: https://distribution.github.io/distribution/spec/api/, and Ollama's way to sign in.
"""

import base64
import json
import os
import platform
import re
import time
from collections.abc import Mapping
from copy import copy
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import quote, urlencode, urljoin, urlsplit

from ollmlx.errors import NotFound, OllmlxError
from ollmlx.names import Name
from ollmlx.store.ollama.layers import MANIFEST_TYPE, Manifest
from ollmlx.store.ollama.manifests import MOST_MANIFEST_BYTES, BadManifest
from ollmlx.store.ollama.shelf import parse
from ollmlx.store.transfer.transport import Body, Refused, Session, Unreachable, unreachable

# Registries look at the client's version; this is the release whose protocol is spoken here.
USER_AGENT = f"ollama/0.12.0 ({platform.machine()} {platform.system().lower()}) ollmlx"
_FIELD = re.compile(r'\b(\w+)="([^"]*)"')


class Unauthorized(OllmlxError):
    def __init__(self, reason: str = "unauthorized: access denied") -> None:
        super().__init__(reason)


class NoSuchFile(NotFound):
    """The registry has no such manifest or blob."""

    status = 500
    """To the client it is a failed pull, not a missing route."""

    def __init__(self) -> None:
        super().__init__("file does not exist")


class Registry:
    """The part of a registry that is one model's."""

    def __init__(
        self, name: Name, session: Session, insecure: bool = False, key: Path | None = None
    ):
        """`insecure` speaks plain HTTP."""
        self._name = name
        self._session = session
        self._key = key
        self._token = ""
        scheme = "http" if insecure else "https"
        self._base = f"{scheme}://{name.host}/v2/{name.namespace}/{name.model}"

    def over(self, session: Session) -> "Registry":
        """The same, signed in as this one is, for another piece of work."""
        other = copy(self)
        other._session = session
        return other

    def manifest(self) -> tuple[Manifest, bytes]:
        """The manifest and its very bytes.

        Raises `NoSuchFile`, `BadManifest`, `Unauthorized`, `Refused` or `Unreachable`.
        """
        url = f"{self._base}/manifests/{self._name.tag}"
        with self.request("GET", url, {"Accept": MANIFEST_TYPE}) as response:
            try:
                data = response.read(MOST_MANIFEST_BYTES + 1)
            except (OSError, HTTPException) as error:
                raise unreachable("GET", url, error) from error
            missing = response.length
        if len(data) > MOST_MANIFEST_BYTES:
            raise BadManifest(f"longer than {MOST_MANIFEST_BYTES} bytes")
        if missing:
            raise Unreachable("GET", url, "unexpected EOF")
        return parse(data, Path(self._name.display)), data

    def put_manifest(self, data: bytes) -> None:
        """Raises as `request`."""
        url = f"{self._base}/manifests/{self._name.tag}"
        self.request("PUT", url, {"Content-Type": MANIFEST_TYPE}, data).close()

    def blob_url(self, digest: str) -> str:
        return f"{self._base}/blobs/{digest}"

    def has(self, digest: str) -> bool:
        """Raises as `request`."""
        try:
            self.request("HEAD", self.blob_url(digest)).close()
        except NoSuchFile:
            return False
        return True

    def begin_upload(self, digest: str, source: str = "") -> str | None:
        """Where to send a blob; None when the registry took it over from the model `source`.

        Raises as `request`.
        """
        url = f"{self._base}/blobs/uploads/"
        if source:
            url += "?" + urlencode({"mount": digest, "from": source}, safe=":/")
        with self.request("POST", url, {"Content-Length": "0"}) as response:
            return None if response.status == 201 else self.next_upload(response.headers, url)

    def next_upload(self, headers: Message, url: str) -> str:
        """The address that an answer to an upload gives for what follows."""
        following = headers.get("Docker-Upload-Location") or headers.get("Location")
        return urljoin(url, following) if following else url

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> HTTPResponse:
        """An answer below 400, signed in for if the registry asks to.

        Raises `NoSuchFile`, `Unauthorized`, `Refused`, `Unreachable` or `HungUp`.
        """
        for attempt in range(2):
            try:
                return self._session.open(method, url, self._headers(url, headers), body)
            except Refused as error:
                if error.code == 404:
                    raise NoSuchFile from error
                if error.code != 401:
                    raise
                if attempt == 0:
                    self._token = self._sign_in(error.headers.get("WWW-Authenticate", ""))
                    if body is not None and not isinstance(body, bytes):
                        body.seek(0)
        raise Unauthorized

    def _headers(self, url: str, given: Mapping[str, str] | None) -> dict[str, str]:
        headers = {"User-Agent": USER_AGENT, **(given or {})}
        # Uploads may be sent elsewhere; the token is this registry's only.
        if self._token and urlsplit(url).netloc == urlsplit(self._base).netloc:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _sign_in(self, challenge: str) -> str:
        """A token for what the challenge asks, had with the user's key.

        Raises `Unauthorized`, `BadKey`, `CannotStore`, `Refused` or `Unreachable`.
        """
        scheme, _, rest = challenge.partition(" ")
        fields = dict(_FIELD.findall(rest))
        realm = fields.get("realm", "")
        if scheme.lower() != "bearer" or not realm:
            raise Unauthorized
        there, here = urlsplit(realm).netloc, urlsplit(self._base).netloc
        if there != here:
            raise Unauthorized(f'realm host "{there}" does not match original host "{here}"')
        # Cryptography takes a while to import, and most pulls never sign.
        from ollmlx.store.transfer import keys

        url = f"{realm}?{_query(fields)}"
        key = keys.load(self._key or keys.key_path())
        headers = {
            "Authorization": keys.signed(key, url),
            "User-Agent": USER_AGENT,
        }
        with self._session.open("GET", url, headers) as response:
            try:
                answer = json.loads(response.read(1 << 20))
            except (OSError, HTTPException, ValueError, RecursionError) as error:
                raise Unauthorized from error
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token.isprintable():
            raise Unauthorized
        return token


def _query(fields: Mapping[str, str]) -> str:
    nonce = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()
    pairs = [("service", fields.get("service", ""))]
    pairs += [("scope", scope) for scope in fields.get("scope", "").split()]
    pairs += [("ts", str(int(time.time()))), ("nonce", nonce)]
    # Go sorts by key, and what is signed is the very text of the address.
    return "&".join(f"{key}={quote(value, safe='')}" for key, value in sorted(pairs))


class BlobSource:
    """A blob of a registry, as `download.Source`: where redirects led is remembered."""

    def __init__(self, registry: Registry, session: Session, digest: str) -> None:
        self._registry, self._session = registry.over(session), session
        self._url = registry.blob_url(digest)
        self._direct = ""

    def open(self, start: int, end: int | None) -> HTTPResponse:
        headers = {} if end is None else {"Range": f"bytes={start}-{end}"}
        if self._direct:
            return self._session.open("GET", self._direct, headers)
        response = self._registry.request("GET", self._url, headers)
        if urlsplit(response.url).netloc != urlsplit(self._url).netloc:
            self._direct = response.url
        return response

    def forget(self) -> None:
        self._direct = ""

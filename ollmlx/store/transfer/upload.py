"""A blob sent to a registry in chunks."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlencode, urljoin

from ollmlx import names
from ollmlx.errors import InvalidName
from ollmlx.store.ollama.layers import Layer
from ollmlx.store.ollama.shelf import LayerGone
from ollmlx.store.transfer.download import PATIENCE, Exhausted, is_final
from ollmlx.store.transfer.registry import Registry
from ollmlx.store.transfer.transport import Refused, Session, Unreachable

SMALLEST, LARGEST, MOST_PARTS = 100_000_000, 1_000_000_000, 16
"""Bytes of a chunk, and how many there are while they fit between."""


@dataclass
class _Sent:
    """How a registry wants the next chunk, and what it has got."""

    url: str
    hashes: list[bytes]


class _Slice:
    """`size` bytes of a file as a body, telling how many were read."""

    def __init__(self, file: BinaryIO, offset: int, size: int, tell: Callable[[int], None]) -> None:
        self._file, self._offset, self._size, self._tell = file, offset, size, tell
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.seek(0)

    def seek(self, offset: int, /) -> int:
        """Only to the start: to be sent again."""
        assert offset == 0
        self.md5 = hashlib.md5(usedforsecurity=False)
        self._left = self._size
        self._tell(self._offset)
        return self._file.seek(self._offset)

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        self.md5.update(data)
        self._tell(self._offset + self._size - self._left)
        return data


class Upload:
    """A layer on its way into a registry.  `completed` may be read, `hang_up` called, anywhere."""

    def __init__(
        self,
        path: Path,
        layer: Layer,
        registry: Registry,
        session: Session,
        patience: Sequence[float] = PATIENCE,
    ) -> None:
        self.total, self.completed = layer.size, 0
        self._path, self._layer, self._session = path, layer, session
        self._registry, self._patience = registry.over(session), patience

    def hang_up(self) -> None:
        """End it soon."""
        self._session.hang_up()

    def run(self) -> None:
        """Send what the registry lacks.

        Raises `Exhausted`, `Refused`, `Unauthorized`, `LayerGone` or `HungUp`.
        """
        failures = 0
        while True:
            try:
                return self._send()
            except (Refused, Unreachable) as error:
                self._session.check()
                if is_final(error):
                    raise
                if failures == len(self._patience):
                    raise Exhausted(error) from error
            except OSError as error:
                raise LayerGone(f"open {self._path}: {error.strerror}") from error
            self._session.wait(self._patience[failures])
            failures += 1

    def _send(self) -> None:
        if self._registry.has(self._layer.digest):
            self.completed = self.total
            return
        url = self._registry.begin_upload(self._layer.digest, _repository(self._layer.source))
        if url is None:
            self.completed = self.total
            return
        sent = _Sent(url, [])
        size = min(max(-(-self.total // MOST_PARTS), SMALLEST), LARGEST)
        with self._path.open("rb") as file:
            for offset in range(0, self.total, size):
                body = _Slice(file, offset, min(size, self.total - offset), self._tell)
                self._chunk(sent, body, offset, min(offset + size, self.total))
        self._commit(sent)

    def _chunk(self, sent: _Sent, body: _Slice, start: int, end: int) -> None:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - start),
            "Content-Range": f"{start}-{end - 1}",
            "X-Redirect-Uploads": "1",
        }
        try:
            with self._registry.request("PATCH", sent.url, headers, body) as response:
                sent.url = self._registry.next_upload(response.headers, sent.url)
        except Refused as error:
            direct = error.headers.get("Location")
            if error.code != 307 or not direct:
                raise
            body.seek(0)
            # The address is signed by itself, and who we are is not that server's business.
            plain = {"Content-Length": str(end - start), "Content-Type": headers["Content-Type"]}
            self._session.open("PUT", direct, plain, body).close()
            sent.url = urljoin(sent.url, error.headers.get("Docker-Upload-Location") or "")
        sent.hashes.append(body.md5.digest())

    def _commit(self, sent: _Sent) -> None:
        etag = hashlib.md5(b"".join(sent.hashes), usedforsecurity=False).hexdigest()
        query = {"digest": self._layer.digest, "etag": f"{etag}-{len(sent.hashes)}"}
        url = f"{sent.url}{'&' if '?' in sent.url else '?'}{urlencode(query)}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": "0"}
        self._registry.request("PUT", url, headers, b"").close()
        self.completed = self.total

    def _tell(self, completed: int) -> None:
        self.completed = completed


def _repository(source: str) -> str:
    """`namespace/model` of the model that a layer came from; empty for a file."""
    try:
        name = names.parse(source)
    except InvalidName:
        return ""
    return f"{name.namespace}/{name.model}"

"""One file fetched in parallel ranges, resumed where it stopped, and kept only when its hash is
right.
"""

import hashlib
import os
import statistics
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from threading import Condition
from typing import Protocol

from ollmlx.errors import OllmlxError
from ollmlx.store.transfer.partial import JOURNAL_BYTES, Part, Partial
from ollmlx.store.transfer.transport import (
    HungUp,
    Refused,
    Session,
    Stalled,
    Unreachable,
    unreachable,
)

STREAMS = 8
"""Ranges under way at once: Ollama's 16 ask more of registries than they gain."""
PATIENCE = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds between attempts at a part that brought nothing."""
SLOW_AFTER_SECONDS, SLOW_SHARE, SLOW_RESTARTS = 5.0, 0.1, 3
"""A range slower than this share of the others' median is asked for anew, so many times."""
_MAY_PASS = (401, 403, 408, 416, 425, 429)
_LONGEST_WAIT = 60.0
_CHUNK, _BLOCK = 1 << 18, 1 << 20


class DigestDiffers(OllmlxError):
    """What came is not what was asked for; none of it is kept."""

    def __init__(self, want: str, got: str) -> None:
        super().__init__(f"digest mismatch, file must be downloaded again: want {want}, got {got}")


class Exhausted(OllmlxError):
    """As many attempts failed as there is patience for."""

    def __init__(self, last: OllmlxError) -> None:
        super().__init__(f"max retries exceeded: {last}")


class Misleading(OllmlxError):
    """A server whose lengths or ranges are not those of the file."""


class _Slow(OllmlxError):
    """This range lags behind the others."""


class _OnlyWhole(OllmlxError):
    """The server answered a range with the whole file."""


class Source(Protocol):
    """Where a file comes from."""

    def open(self, start: int, end: int | None) -> HTTPResponse:
        """The bytes from `start` to `end`, both included; without an end all, no range asked for.

        Raises `Refused`, `Unreachable` or `HungUp`, or what cannot get better.
        """

    def forget(self) -> None:
        """An attempt failed: ask for the address and the permission anew."""


class Download:
    """A file of `total` bytes on its way to `target`.

    `total` and `completed` may be read from any thread, `hang_up` called from any.
    """

    def __init__(
        self,
        target: Path,
        digest: str,
        total: int,
        source: Source,
        session: Session,
        patience: Sequence[float] = PATIENCE,
    ) -> None:
        self.digest, self.total = digest, total
        self._source, self._session, self._patience = source, session, patience
        self._partial = Partial(target, total)
        self._elsewhere: int | None = None
        self._whole = self._stopped = False
        self._grown = Condition()
        self._paces: dict[int, float] = {}

    @property
    def completed(self) -> int:
        """Bytes on disk."""
        if self._elsewhere is not None:
            return self._elsewhere
        return sum(part.completed for part in self._partial.parts)

    def hang_up(self) -> None:
        """End it soon; what is there stays for the next time."""
        self._session.hang_up()

    def run(self) -> None:
        """Fetch what is missing, check it, keep it.

        Raises `DigestDiffers`, `Exhausted`, `Misleading`, `NoRoom`, `CannotStore`, `HungUp`, or
        what the source raises that cannot get better.
        """
        with self._partial as partial:
            self._wait_for_turn()
            if partial.finished:
                partial.discard()
                self._elsewhere = self.total
                return
            try:
                got = self._fetch_all()
            except _OnlyWhole:
                self._whole = True
                partial.begin_again(whole=True)
                got = self._fetch_all()
            if got != self.digest:
                partial.discard()
                raise DigestDiffers(self.digest, got)
            partial.finish()

    def _wait_for_turn(self) -> None:
        """Only one process fetches; the others look on."""
        while not self._partial.try_open():
            if self._partial.finished:
                self._elsewhere = self.total
            else:
                self._elsewhere = self._partial.completed_elsewhere()
            self._session.wait(0.1)
        self._elsewhere = None

    def _fetch_all(self) -> str:
        """Every part, hashing what is there from the start meanwhile; `sha256:<hex>` of it all."""
        self._stopped = False
        pending = deque(part for part in self._partial.parts if not part.done)
        with ThreadPoolExecutor(STREAMS + 1, "download") as threads:
            hashing = threads.submit(self._hash)
            fetching = [threads.submit(self._work, pending) for _ in range(STREAMS)]
            with ExitStack() as unless_fetched:
                unless_fetched.callback(self._stop_hashing)
                self._gather(fetching, pending)
                unless_fetched.pop_all()
            return hashing.result()

    def _gather(self, fetching: Sequence[Future[None]], pending: deque[Part]) -> None:
        """Wait for all workers; the first that fails ends the others."""
        errors: list[BaseException] = []
        for worker in as_completed(fetching):
            if error := worker.exception():
                errors.append(error)
                pending.clear()
                if not isinstance(error, _OnlyWhole):
                    self._session.hang_up()
        errors.sort(key=lambda error: isinstance(error, HungUp))
        if errors:
            raise errors[0]

    def _work(self, pending: deque[Part]) -> None:
        while pending:
            try:
                part = pending.popleft()
            except IndexError:
                return  # another worker took the last one
            self._fetch(part)

    def _fetch(self, part: Part) -> None:
        """One part, as often as it takes."""
        failures = restarts = 0
        while not part.done:
            before = part.completed
            try:
                self._attempt(part, restarts < SLOW_RESTARTS)
            except _Slow:
                restarts += 1
            except (Refused, Unreachable, Misleading) as error:
                self._session.check()
                failures = 0 if _moved(error, part.completed - before) else failures + 1
                self._bear(error, failures)

    def _bear(self, error: OllmlxError, failures: int) -> None:
        """Wait before the next attempt.  Raises `Exhausted`, or the error when it is final."""
        if is_final(error):
            raise error
        if failures >= len(self._patience):
            raise Exhausted(error) from error
        self._source.forget()
        if failures:
            self._session.wait(max(self._patience[failures - 1], _asked_to_wait(error)))

    def _attempt(self, part: Part, may_restart: bool) -> None:
        start = part.offset + part.completed
        end = None if self._whole else part.offset + part.size - 1
        with self._source.open(start, end) as response:
            try:
                self._begin(response, part, start)
                self._read(response, part, may_restart)
            finally:
                if part.completed != part.journalled:
                    self._partial.note(part)

    def _begin(self, response: HTTPResponse, part: Part, start: int) -> None:
        """See that the answer is the range that was asked for."""
        length = -1 if response.length is None else response.length
        if response.status == 206:
            unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
            span, _, total = rest.partition("/")
            if unit != "bytes" or span.partition("-")[0] != str(start):
                raise Misleading(f"asked for bytes from {start}, got {rest or 'no range'}")
            if total not in ("*", str(self.total)):
                raise Misleading(f"size mismatch, want {self.total} bytes, got {total}")
            return
        if length not in (-1, self.total):
            raise Misleading(f"size mismatch, want {self.total} bytes, got {length}")
        if part.size != self.total:
            raise _OnlyWhole
        self._partial.restart(part)

    def _read(self, response: HTTPResponse, part: Part, may_restart: bool) -> None:
        began, first, look = time.monotonic(), part.completed, time.monotonic() + SLOW_AFTER_SECONDS
        while not part.done:
            try:
                data = response.read1(min(_CHUNK, part.size - part.completed))
            except (OSError, HTTPException) as error:
                raise unreachable("GET", response.url, error) from error
            if not data:
                raise Unreachable("GET", response.url, "unexpected EOF")
            self._partial.write(part, data)
            with self._grown:
                self._grown.notify_all()
            if (now := time.monotonic()) >= look:
                look = now + 1
                self._compare(part, (part.completed - first) / (now - began), may_restart)
        self._paces[part.number] = (part.completed - first) / max(time.monotonic() - began, 1e-9)

    def _compare(self, part: Part, pace: float, may_restart: bool) -> None:
        """Raises `_Slow` for a range far behind the others."""
        self._paces[part.number] = pace
        others = [other for number, other in list(self._paces.items()) if number != part.number]
        if may_restart and len(others) >= 3 and pace < SLOW_SHARE * statistics.median(others):
            raise _Slow

    def _hash(self) -> str:
        """Read behind the writers, out of memory the system still holds."""
        digest, at = hashlib.sha256(), 0
        buffer = memoryview(bytearray(_BLOCK))
        while at < self.total:
            with self._grown:
                while (ready := self._contiguous() - at) <= 0 and not self._stopped:
                    self._grown.wait()
            if self._stopped:
                raise HungUp
            while ready > 0:
                got = os.preadv(self._partial.descriptor, [buffer[: min(ready, _BLOCK)]], at)
                ready -= got
                digest.update(buffer[:got])
                at += got
        return f"sha256:{digest.hexdigest()}"

    def _stop_hashing(self) -> None:
        with self._grown:
            self._stopped = True
            self._grown.notify_all()

    def _contiguous(self) -> int:
        """Bytes from the start without a gap."""
        at = 0
        for part in self._partial.parts:
            at += part.completed
            if not part.done:
                break
        return at


def is_final(error: OllmlxError) -> bool:
    """Whether another attempt would be refused alike."""
    return isinstance(error, Refused) and error.code < 500 and error.code not in _MAY_PASS


def _moved(error: OllmlxError, fetched: int) -> bool:
    """Whether an attempt that ended early was worth it, so that it does not count."""
    return fetched >= JOURNAL_BYTES or (isinstance(error, Stalled) and fetched > 0)


def _asked_to_wait(error: OllmlxError) -> float:
    """Seconds of a `Retry-After`."""
    text = error.headers.get("Retry-After") or "" if isinstance(error, Refused) else ""
    return min(float(text), _LONGEST_WAIT) if text.isdecimal() else 0.0

"""Answers of a batch that has not ended well, so that asking again goes on where it stopped."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ollmlx.errors import BadRequest

_BEGINS = b'{"key": "'
"""Each line of a file of answers."""


class Kept(Protocol):
    """Texts of answers by the key of their question."""

    def get(self, key: str) -> str | None: ...

    def put(self, key: str, text: str) -> None: ...

    def forget(self, keys: Iterable[str]) -> None:
        """The batch they belong to is whole."""


class InMemory:
    """Until the batch is whole, or the kernel ends."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        return self._texts.get(key)

    def put(self, key: str, text: str) -> None:
        self._texts[key] = text

    def forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._texts.pop(key, None)


# A batch is asked for again by the same call; there is nothing else to keep its answers in.
OF_THIS_KERNEL = InMemory()


class InFile:
    """JSON lines, one an answer, written as they come; never deleted, the file is the user's."""

    def __init__(self, path: Path) -> None:
        """Raises `BadRequest` for a file that is something else, or cannot be written."""
        self._path = path
        try:
            with path.open("a+b") as file:
                file.seek(0)
                content = file.read()
                whole = _without_half_a_line(content)
                self._texts = dict(_lines(path, whole))
                file.truncate(len(whole))
        except OSError as error:
            raise BadRequest(f"{path} cannot keep answers: {error.strerror or error}") from error

    def get(self, key: str) -> str | None:
        return self._texts.get(key)

    def put(self, key: str, text: str) -> None:
        self._texts[key] = text
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "text": text}, ensure_ascii=False) + "\n")

    def forget(self, keys: Iterable[str]) -> None: ...


def _without_half_a_line(content: bytes) -> bytes:
    """A kernel that was killed while it wrote leaves one of our lines without its end."""
    whole, end, half = content.rpartition(b"\n")
    return whole + end if half.startswith(_BEGINS[: len(half)]) else content


def _lines(path: Path, content: bytes) -> Iterable[tuple[str, str]]:
    """Raises `BadRequest` for a file that is something else."""
    for number, line in enumerate(content.splitlines(), 1):
        try:
            answer = json.loads(line)
            yield answer["key"], answer["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadRequest(f"{path} does not hold answers: line {number}") from error


def keys(requests: Iterable[Mapping[str, Any]]) -> list[str]:
    """One for each request: the same for the same, apart from those that are asked repeatedly."""
    seen: Counter[str] = Counter()
    made = []
    for request in requests:
        text = json.dumps(request, sort_keys=True, default=repr)
        seen[text] += 1
        made.append(hashlib.sha256(f"{seen[text]} {text}".encode()).hexdigest())
    return made

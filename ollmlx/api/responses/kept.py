"""The conversations that responses ended, for requests that go on with one by its id.

In memory only: they are gone with the server, and the oldest give way to new ones.
"""

from collections import OrderedDict
from typing import Any

import msgspec

LIMIT_BYTES = 64 << 20
"""Of items as JSON; the newest conversation stays however large it is."""


class Kept:
    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._encoded: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def __contains__(self, name: str) -> bool:
        return name in self._encoded

    def put(self, name: str, items: list[Any]) -> None:
        """`items` are what was said so far, as a request's `input` has them, and the output."""
        self._encoded[name] = msgspec.json.encode(items)
        self._size += len(self._encoded[name])
        while self._size > self._limit and len(self._encoded) > 1:
            self._size -= len(self._encoded.popitem(last=False)[1])

    def items(self, name: str) -> list[Any]:
        """Empty for one that is not there, or no longer."""
        if name not in self._encoded:
            return []
        self._encoded.move_to_end(name)
        found: list[Any] = msgspec.json.decode(self._encoded[name])
        return found

"""KV caches of what was read before, so that a chat's next turn reads only what is new.

Not mlx-lm's `LRUPromptCache`: that one forgets by age whether used or not, and answers an exact
hit with nothing left to read.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from mlx_lm.models.cache import can_trim_prompt_cache, trim_prompt_cache
from numpy.typing import NDArray

Cache = list[Any]
"""mlx-lm's cache of one sequence, an object a layer."""


class Prefixes:
    """Caches by the tokens in them, within `budget` bytes; the least recently used goes first."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._entries: list[tuple[NDArray[np.int64], Cache]] = []  # the most recent last

    @property
    def nbytes(self) -> int:
        return sum(map(_size, self._entries))

    def find(self, tokens: Sequence[int]) -> tuple[Cache | None, int]:
        """A copy of the cache that saves most, and how many of `tokens` are in it.

        At least one token is left to read: a sequence cannot start with none.
        """
        usable = self._usable(tokens)
        if not any(usable):
            return None, 0
        place = int(np.argmax(usable))
        entry = self._entries.pop(place)
        self._entries.append(entry)
        cache = copy.deepcopy(entry[1])  # shares the arrays until one of the two is written
        trim_prompt_cache(cache, len(entry[0]) - usable[place])
        return cache, usable[place]

    def reach(self, tokens: Sequence[int]) -> int:
        """How many of `tokens` `find` would save."""
        return max(self._usable(tokens), default=0)

    def put(self, tokens: Sequence[int], cache: Cache) -> None:
        """Keep a cache that holds exactly `tokens`; it replaces those that it makes superfluous."""
        key = np.asarray(tokens, np.int64)
        self._entries = [e for e in self._entries if not _covers(key, cache, e[0])]
        self._entries.append((key, cache))
        while self._entries and self.nbytes > self._budget:
            self._entries.pop(0)

    def clear(self) -> None:
        self._entries.clear()

    def _usable(self, tokens: Sequence[int]) -> list[int]:
        wanted = np.asarray(tokens[:-1], np.int64)
        return [_usable(entry, wanted) for entry in self._entries]


def _size(entry: tuple[NDArray[np.int64], Cache]) -> int:
    return sum(int(layer.nbytes) for layer in entry[1])


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common prefix."""
    return _common(np.asarray(one, np.int64), np.asarray(other, np.int64))


def _common(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return int(differs[0]) if differs.size else length


def _usable(entry: tuple[NDArray[np.int64], Cache], wanted: NDArray[np.int64]) -> int:
    """Recurrent states and wrapped windows cannot be cut: they serve whole or not at all."""
    key, cache = entry
    common = _common(key, wanted)
    return common if common == len(key) or can_trim_prompt_cache(cache) else 0


def _covers(key: NDArray[np.int64], cache: Cache, older: NDArray[np.int64]) -> bool:
    common = _common(key, older)
    return common == len(older) and (common == len(key) or can_trim_prompt_cache(cache))

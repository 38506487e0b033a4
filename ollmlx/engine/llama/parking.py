"""Finished answers kept in ordinary memory: in the cache, every step of the running ones would walk
over their cells.

Saving one costs a thousandth of reading its prompt, and bringing it back about as little.  But
those that grow side by side lie scattered over the cache, and a GPU copies each piece by itself.
"""

import ctypes
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import compress, count
from operator import ne

import numpy as np
from llama_cpp import llama_cpp as llama
from numpy.typing import NDArray

from ollmlx.engine import media
from ollmlx.engine.fit import free_memory, memory
from ollmlx.engine.llama.context import Context

_LEFT_FREE = 1 << 30
"""Bytes of memory that parking leaves to others."""
_SHARE = 8
"""Of the machine's memory, the part that copies take together; a single one may take more."""
_MOST = 64
"""Copies: each prompt that arrives is held against all of them."""


@dataclass(eq=False)
class Held:
    """What a sequence holds, in the cache or parked.

    The token at index i is at position i, but for models that place images in two dimensions:
    `media.positions` tells.
    """

    tokens: list[int] = field(default_factory=list)
    sound: int | None = None
    """After a context shift: how many tokens at the start were computed with all that precedes
    them, and so may be the start of another prompt."""
    last_use: int = 0

    def in_common(self, prompt: list[int]) -> int:
        """How many tokens at the start are the same."""
        held = len(self.tokens)
        length = min(len(prompt), held, held if self.sound is None else self.sound)
        differs = compress(count(), map(ne, self.tokens, prompt))
        return media.without_cut(prompt, min(length, next(differs, length)))


@dataclass(eq=False)
class Parked(Held):
    state: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))


class Parking:
    """As many tokens as it has room for; the one used longest ago gives way."""

    def __init__(self, context: Context, room: int, rewinds: bool) -> None:
        """`rewinds`: whether what is held can be cut back to any of its beginnings."""
        self._context, self._room, self._rewinds = context.handle, room, rewinds
        self.parked: list[Parked] = []
        self.once = self.saving = 0.0
        """The least seconds that saving took at all, and a piece of it; 0 while nothing was."""

    def seconds(self, pieces: int) -> float:
        """What saving so many pieces takes, and bringing them back about as much."""
        return max(self.once, pieces * self.saving)

    def park(self, sequence_id: int, held: Held, last_use: int, pieces: int) -> None:
        """Save what a sequence holds; its cells are as they were, in about so many pieces."""
        size = llama.llama_state_seq_get_size(self._context, sequence_id)
        # A longer answer that goes on from another holds all of it.
        least = 0 if self._rewinds else len(held.tokens)
        self.parked = [
            p for p in self.parked if not least <= len(p.tokens) == p.in_common(held.tokens)
        ]
        while self.parked and not self._has_room(size, len(held.tokens)):
            self.parked.remove(min(self.parked, key=lambda one: one.last_use))
        if free_memory() < size + _LEFT_FREE:
            return  # it is only to save work
        started = time.perf_counter()
        state = np.empty(size, np.uint8)
        if llama.llama_state_seq_get_data(self._context, _bytes(state), size, sequence_id) != size:
            return
        taken = time.perf_counter() - started
        self.once = min(self.once or math.inf, taken)
        self.saving = min(self.saving or math.inf, taken / pieces)
        self.parked.append(Parked(list(held.tokens), held.sound, last_use, state))

    def _has_room(self, size: int, tokens: int) -> bool:
        """Whether another copy may come beside those that are there."""
        total, free = memory()
        taken = sum(len(one.state) for one in self.parked)
        return (
            len(self.parked) < _MOST
            and tokens + sum(len(one.tokens) for one in self.parked) <= self._room
            and taken + size <= total // _SHARE
            and free >= size + _LEFT_FREE
        )

    def bring_back(self, parked: Parked, sequence_id: int) -> bool:
        """Put it into an empty sequence; False if the cache has no room."""
        state = parked.state
        read = llama.llama_state_seq_set_data(self._context, _bytes(state), len(state), sequence_id)
        return bool(read)


def worth_saving(ends: list[int], held: int, saving: Callable[[int], float], reading: float) -> int:
    """Of a sequence whose pieces have those `ends`, how many tokens at the start to save: the rest
    is read again sooner than saved and brought back.  `held` are there without it.  In seconds:
    `saving` some pieces, `reading` a token.
    """
    gains = [(end - held) * reading - 2 * saving(pieces) for pieces, end in enumerate(ends, 1)]
    best = max(range(len(ends)), key=gains.__getitem__)
    return ends[best] if gains[best] > 0 else 0


def _bytes(state: NDArray[np.uint8]) -> "ctypes._Pointer[ctypes.c_uint8]":
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))

"""What one llama.cpp call computes, over numpy memory so that a chunk is a slice and not a loop."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as llama
from numpy.typing import NDArray


class Batch:
    """At most `capacity` tokens of any number of sequences."""

    whole = False

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._tokens = np.zeros(capacity, np.int32)
        self._positions = np.zeros(capacity, np.int32)
        self._sequences = np.zeros(capacity, np.int32)
        self._wanted = np.zeros(capacity, np.int8)
        self._ones = np.ones(capacity, np.int32)
        offsets = np.arange(capacity, dtype=np.uintp) * np.uintp(4)
        self._pointers = np.uintp(self._sequences.ctypes.data) + offsets
        self._native = llama.llama_batch(
            n_tokens=0,
            token=_pointer(self._tokens, llama.llama_token),
            embd=None,
            pos=_pointer(self._positions, llama.llama_pos),
            n_seq_id=_pointer(self._ones, ctypes.c_int32),
            seq_id=_pointer(self._pointers, ctypes.POINTER(llama.llama_seq_id)),
            logits=_pointer(self._wanted, ctypes.c_int8),
        )

    @property
    def room(self) -> int:
        return self.capacity - self.size

    def clear(self) -> None:
        self.size = 0

    def add(self, tokens: Sequence[int], position: int, sequence: int, last: bool) -> int:
        """Add consecutive tokens; `last` asks for the last one's output.  Returns its row."""
        start, end = self.size, self.size + len(tokens)
        assert start < end <= self.capacity
        self._tokens[start:end] = tokens
        self._positions[start:end] = np.arange(position, position + len(tokens))
        self._sequences[start:end] = sequence
        self._wanted[start:end] = 0
        self._wanted[end - 1] = last
        self.size = end
        return end - 1

    @property
    def native(self) -> Any:
        """The `llama_batch`; valid until the next change."""
        self._native.n_tokens = self.size
        return self._native


class Vectors:
    """Consecutive tokens of one sequence that are given as vectors: those of an image."""

    def __init__(
        self,
        vectors: NDArray[np.float32],
        places: NDArray[np.int32],
        sequence: int,
        whole: bool,
        last: bool,
    ) -> None:
        """`vectors` [tokens, width] at `places` [axes, tokens], all of which see each other if
        `whole`; `last` asks for the last one's output.
        """
        self.size, self.whole = len(vectors), whole
        self._held = (
            np.ascontiguousarray(vectors),
            np.ascontiguousarray(places, np.int32),
            np.ones(self.size, np.int32),
            np.full(1, sequence, np.int32),
            np.zeros(self.size, np.int8),
        )
        values, positions, ones, self._sequence, wanted = self._held
        wanted[-1] = last
        self._pointers = np.full(self.size, self._sequence.ctypes.data, np.uintp)
        self.native = llama.llama_batch(
            n_tokens=self.size,
            token=None,
            embd=_pointer(values, ctypes.c_float),
            pos=_pointer(positions, llama.llama_pos),
            n_seq_id=_pointer(ones, ctypes.c_int32),
            seq_id=_pointer(self._pointers, ctypes.POINTER(llama.llama_seq_id)),
            logits=_pointer(wanted, ctypes.c_int8),
        )


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))

"""Sequences in the KV cache: what they hold, and how a new prompt starts from what is there.

All sequences share one pool of cells (`kv_unified`), so a common beginning is shared and not
copied.  A finished answer's tokens stay until their cells are needed: the next turn of a chat
computes only what is new.
"""

from collections.abc import Sequence as Items
from dataclasses import dataclass, field

import numpy as np
from llama_cpp import llama_cpp as llama

from ollmlx.engine.llama_context import Context
from ollmlx.engine.llama_model import Model


@dataclass(eq=False)
class Sequence:
    """One seq_id; the token at index i of `tokens` is in the cache at position i."""

    id: int
    tokens: list[int] = field(default_factory=list)
    sound: int | None = None
    """After a context shift: how many tokens at the start were computed with all that precedes
    them, and so may be the start of another prompt."""
    busy: bool = False
    last_use: int = 0

    def in_common(self, prompt: Items[int]) -> int:
        """How many tokens at the start are the same."""
        length = min(len(prompt), len(self.tokens) if self.sound is None else self.sound)
        same = np.asarray(self.tokens[:length]) == np.asarray(prompt[:length])
        return length if same.all() else int(np.argmin(same))


class Cache:
    """`count` sequences; at most that many are busy at once."""

    def __init__(self, model: Model, context: Context, count: int) -> None:
        self._memory = context.memory
        self._recurrent = model.recurrent
        self._window: int = llama.llama_model_n_swa(model.handle)
        self._sequences = [Sequence(number) for number in range(count)]
        self._clock = 0
        self.can_shift = bool(llama.llama_memory_can_shift(self._memory)) and not self._recurrent

    def borrow(self, prompt: Items[int]) -> Sequence:
        """An idle sequence that holds as much of `prompt` as any does, but not its last token."""
        usable = prompt[:-1]
        length, donor = max(
            ((self._reusable(s, usable), s) for s in self._sequences),
            key=lambda scored: (scored[0], not scored[1].busy, scored[1].last_use),
        )
        target = self._target(donor, length)
        if not self._start(target, donor, length):
            self.clear(target)
            length = 0
        target.tokens, target.sound, target.busy = list(prompt[:length]), None, True
        return target

    def release(self, sequence: Sequence) -> None:
        """Keep what it holds for a later prompt."""
        self._clock += 1
        sequence.busy, sequence.last_use = False, self._clock

    def clear(self, sequence: Sequence) -> None:
        llama.llama_memory_seq_rm(self._memory, sequence.id, -1, -1)
        sequence.tokens.clear()

    def evict(self) -> bool:
        """Clear the idle sequence that was used least recently; False if there is none."""
        idle = [s for s in self._sequences if s.tokens and not s.busy]
        if not idle:
            return False
        self.clear(min(idle, key=lambda s: s.last_use))
        return True

    def shift(self, sequence: Sequence, keep: int) -> list[int]:
        """Drop the older half of what follows the first `keep` tokens.

        Returns the tokens that must be decoded again: none, unless a running sequence shares the
        cells that would have to move.
        """
        tokens = sequence.tokens
        dropped = max((len(tokens) - keep) // 2, 1)
        start = keep + dropped
        rest = tokens[:keep] + tokens[start:]
        if not self._part_from_others(sequence, start):
            self.clear(sequence)
            sequence.sound = None
            return rest
        llama.llama_memory_seq_rm(self._memory, sequence.id, keep, start)
        llama.llama_memory_seq_add(self._memory, sequence.id, start, -1, -dropped)
        sequence.tokens = rest
        sequence.sound = keep if sequence.sound is None else min(keep, sequence.sound)
        return []

    def _reusable(self, sequence: Sequence, prompt: Items[int]) -> int:
        """How many of its first tokens `prompt` could start from."""
        length = sequence.in_common(prompt)
        if self._recurrent and (sequence.busy or length < len(sequence.tokens)):
            return 0  # its state is that of its last token, not of an earlier one
        return length

    def _part_from_others(self, sequence: Sequence, start: int) -> bool:
        """Make sure that cells from `start` on are this sequence's alone: a shift moves cells, and
        those of a common beginning may be the same.  False if a running sequence may hold some."""
        for other in self._sequences:
            if other is sequence or other.in_common(sequence.tokens) <= start:
                continue
            if other.busy:
                return False
            self._cut(other, start)
        return True

    def _target(self, donor: Sequence, length: int) -> Sequence:
        """The donor itself if the prompt goes on from most of it, else what is missed least."""
        if not donor.busy and 2 * length >= len(donor.tokens) > 0:
            return donor
        idle = [s for s in self._sequences if not s.busy]
        others = [s for s in idle if s is not donor] or idle
        return min(others, key=lambda s: (bool(s.tokens), s.last_use))

    def _start(self, target: Sequence, donor: Sequence, length: int) -> bool:
        """Make `target` hold exactly the donor's first tokens; False if the cache cannot."""
        if not length:
            return False
        if target is donor:
            cut = llama.llama_memory_seq_rm(self._memory, target.id, length, -1)
            return bool(cut) and self._intact(target, length)
        self.clear(target)
        llama.llama_memory_seq_cp(self._memory, donor.id, target.id, 0, length)
        return self._intact(target, length)

    def _cut(self, sequence: Sequence, length: int) -> None:
        if llama.llama_memory_seq_rm(self._memory, sequence.id, length, -1):
            del sequence.tokens[length:]
        else:
            self.clear(sequence)

    def _intact(self, sequence: Sequence, length: int) -> bool:
        """Whether all that the next token attends to is there: models with a sliding window drop
        what fell out of it, and cutting back then leaves a hole."""
        if llama.llama_memory_seq_pos_max(self._memory, sequence.id) != length - 1:
            return False
        if self._recurrent:
            return True
        oldest: int = llama.llama_memory_seq_pos_min(self._memory, sequence.id)
        return oldest <= (max(0, length - self._window) if self._window else 0)

"""Sequences in the KV cache: what they hold, and how a new prompt starts from what is there.

All sequences share one pool of cells (`kv_unified`), so a common beginning is shared and not
copied.  A finished answer stays until another begins, and is parked then: the next turn of a chat
computes only what is new.

The state of recurrent and hybrid models is that of the last token alone, and a sliding window
forgets what fell out of it: neither can be cut back to where the next turn differs.  A copy of
theirs is parked before a prompt ends, too.

A processor adds up what a token attends to in the order of the cells, and a small model says
something else when sums are rounded otherwise.  So there the cells of a sequence keep the order of
its tokens, and a seed gives the same text alone, beside others and after them: none are freed
below those of a running answer, and an answer that begins alone has the cache to itself.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from llama_cpp import llama_cpp as llama

from ollmlx.engine import media
from ollmlx.engine.llama.context import Context
from ollmlx.engine.llama.model import Model
from ollmlx.engine.llama.parking import Held, Parked, Parking, worth_saving
from ollmlx.engine.llama.threads import Pace

_REMAINS = 512
"""Cells that are not freed beside running answers, or as many as those hold if that is more."""
_COPIES = 4
"""Of each token that fits in the cache: those of models that cannot be cut back are small."""


@dataclass(eq=False)
class Sequence(Held):
    """One seq_id of the cache."""

    id: int = 0
    busy: bool = False
    position: int = 0
    """Where the next token goes."""
    starts: list[int] = field(default_factory=lambda: [0])
    """Which tokens begin a piece: between it and the one before, another sequence grew."""


class Cache:
    """`count` sequences, busy or idle, over `cells` cells."""

    def __init__(
        self,
        model: Model,
        context: Context,
        count: int,
        cells: int,
        pace: Pace,
        in_order: bool = False,
    ) -> None:
        """`in_order`: keep the cells of each sequence in the order of its tokens, for which the
        context has one seq_id more than `count`.
        """
        self._memory, self.pace = context.memory, pace
        self.count, self.cells = count, cells
        self._grown: Sequence | None = None
        self._recurrent = model.recurrent
        self._window: int = llama.llama_model_n_swa(model.handle)
        self._sequences = [Sequence(id=number) for number in range(count)]
        self.rewinds = not (self._recurrent or self._window)
        """Whether a sequence can be cut back to any of its beginnings."""
        self._parking = Parking(context, cells if self.rewinds else cells * _COPIES, self.rewinds)
        self.in_order = in_order and self.rewinds
        """Whether sums are the same however answers run."""
        self._remains, self._num_remains = count, 0
        """The seq_id of cells that nobody needs any more."""
        self._scattered = False
        """Whether there may be free cells below those of a sequence."""
        self._clock = 0
        self.can_shift = bool(llama.llama_memory_can_shift(self._memory)) and not self._recurrent

    def borrow(self, prompt: list[int]) -> Sequence:
        """An idle sequence that holds as much of `prompt` as any does, but not its last token."""
        usable = prompt[: media.without_cut(prompt, len(prompt) - 1)]
        self._free_remains(self._num_busy() or -1)
        length, donor = self._donor(usable)
        if self.in_order and not self._num_busy() and not self._goes_on_alone(donor, length):
            self._park_all(donor, length)
            length, donor = self._donor(usable)
        target = self._target(donor, length)
        self._park_idle(target, donor, length)
        if not self._start(target, donor, length):
            self.clear(target)
            length = 0
        target.tokens, target.sound, target.busy = list(prompt[:length]), None, True
        target.position, target.starts = media.positions(target.tokens), [0]
        return target

    def _donor(self, usable: list[int]) -> tuple[int, Held]:
        """What a prompt starts from, and how many tokens of it."""
        return max(
            ((self._reusable(h, usable), h) for h in [*self._sequences, *self._parking.parked]),
            key=lambda scored: self._worth(*scored),
        )

    def _worth(self, length: int, held: Held) -> tuple[float, bool, int]:
        """To a prompt, of what it could start from.  A parked copy has to be brought back, which
        takes about as long as saving it did; cells of a running answer are shared for nothing.
        """
        parked = length > 0 and not isinstance(held, Sequence)
        toll = self._parking.seconds(1) / self.pace.cost if parked else 0.0
        return length - toll, not parked and not self._is_busy(held), held.last_use

    def grow(self, sequence: Sequence, tokens: list[int]) -> None:
        """Note that tokens were decoded behind what a sequence holds."""
        if self._grown not in (None, sequence) and sequence.tokens:
            sequence.starts.append(len(sequence.tokens))
        self._grown = sequence
        sequence.tokens += tokens
        sequence.position += media.positions(tokens)

    def keep(self, sequence: Sequence) -> None:
        """Park a copy of what a busy sequence holds now: a later prompt may part from it here."""
        self._clock += 1
        self._parking.park(sequence.id, sequence, self._clock, len(sequence.starts))

    def release(self, sequence: Sequence) -> None:
        """Keep what it holds for a later prompt."""
        self._clock += 1
        sequence.busy, sequence.last_use = False, self._clock

    def clear(self, sequence: Sequence) -> None:
        self._remove(sequence, 0)
        sequence.tokens.clear()
        sequence.sound, sequence.position, sequence.starts = None, 0, [0]

    def evict(self) -> bool:
        """Clear the idle sequence that was used least recently; False if there is none."""
        if self._free_remains(-1):
            return True
        idle = [s for s in self._sequences if s.tokens and not s.busy]
        if not idle:
            return False
        self.clear(min(idle, key=lambda s: s.last_use))
        self._free_remains(-1)
        return True

    def shift(self, sequence: Sequence, keep: int) -> list[int]:
        """Drop the older half of what follows the first `keep` tokens, none of them an image's.

        Returns the tokens that must be decoded again: none, unless a running sequence shares the
        cells that would have to move.
        """
        tokens = sequence.tokens
        dropped = max((len(tokens) - keep) // 2, 1)
        start = keep + dropped
        rest = tokens[:keep] + tokens[start:]
        if not self._part_from_others(sequence, start):
            self.clear(sequence)
            return rest
        llama.llama_memory_seq_rm(self._memory, sequence.id, keep, start)
        self._scattered = True
        llama.llama_memory_seq_add(self._memory, sequence.id, start, -1, -dropped)
        sequence.tokens, sequence.position, sequence.starts = rest, len(rest), [0]
        sequence.sound = keep if sequence.sound is None else min(keep, sequence.sound)
        return []

    def _reusable(self, held: Held, prompt: list[int]) -> int:
        """How many of its first tokens `prompt` could start from."""
        length = held.in_common(prompt)
        if self._recurrent:
            return length if length == len(held.tokens) and not self._is_busy(held) else 0
        return length if self._reaches_back(held, media.positions(held.tokens[:length])) else 0

    def _reaches_back(self, held: Held, end: int) -> bool:
        """Whether all that a token at position `end` attends to is there."""
        if not self._window or not held.tokens:
            return True
        # A parked copy has the last window alone.
        oldest: int = max(0, media.positions(held.tokens) - self._window)
        if isinstance(held, Sequence):
            oldest = llama.llama_memory_seq_pos_min(self._memory, held.id)
        return oldest <= max(0, end - self._window)

    def _is_busy(self, held: Held) -> bool:
        return isinstance(held, Sequence) and held.busy

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

    def _target(self, donor: Held, length: int) -> Sequence:
        """The donor itself if the prompt goes on from most of it, else what is missed least."""
        if isinstance(donor, Sequence) and not donor.busy and _mostly(donor, length):
            return donor
        idle = [s for s in self._sequences if not s.busy]
        others = [s for s in idle if s is not donor] or idle
        return min(others, key=lambda s: (bool(s.tokens), s.last_use))

    def _park_idle(self, target: Sequence, donor: Held, length: int) -> None:
        """Park what is idle, the donor only if the target is going to overwrite it."""
        for sequence in self._sequences:
            gives = length > 0 and sequence is donor
            goes_on = gives and (sequence is not target or _mostly(donor, length))
            if sequence.tokens and not sequence.busy and not goes_on:
                self._park(sequence, length if gives else 0)
                if not gives:
                    self.clear(sequence)

    def _park(self, sequence: Sequence, least: int) -> None:
        """Save what takes longer to read again, and `least` tokens."""
        size = len(sequence.tokens)
        ends = [*sequence.starts[1:], size]
        if self.rewinds:
            others = (h for h in [*self._sequences, *self._parking.parked] if h is not sequence)
            held = max((other.in_common(sequence.tokens) for other in others), default=0)
            worth = worth_saving(ends, held, self._parking.seconds, self.pace.cost)
            size = media.without_cut(sequence.tokens, max(worth, least))
        if 0 < size < len(sequence.tokens):
            self._cut(sequence, size)
        if size and sequence.tokens:
            pieces = bisect_left(ends, size) + 1
            self._parking.park(sequence.id, sequence, sequence.last_use, pieces)

    def _start(self, target: Sequence, donor: Held, length: int) -> bool:
        """Make `target` hold exactly the donor's first tokens; False if the cache cannot."""
        if not length:
            return False
        kept = donor.tokens[:length]
        end = media.positions(kept)
        # Each of these calls walks over all cells, which are a million on a large GPU.
        if target is not donor and target.tokens:
            self.clear(target)
        if target is not donor and isinstance(donor, Sequence):
            llama.llama_memory_seq_cp(self._memory, donor.id, target.id, 0, end)
            return self._intact(target, kept)
        if isinstance(donor, Parked):
            back = self._parking.bring_back(donor, target.id)
            if not back and self._free_remains(-1):
                back = self._parking.bring_back(donor, target.id)
            if not back:
                return False
            # Its cells are the last ones, and nobody has seen them.
            cut = bool(llama.llama_memory_seq_rm(self._memory, target.id, end, -1))
        else:
            cut = self._remove(target, end)
        return cut and self._intact(target, kept)

    def _cut(self, sequence: Sequence, length: int) -> None:
        end = media.positions(sequence.tokens[:length])
        if self._remove(sequence, end):
            del sequence.tokens[length:]
            del sequence.starts[max(1, bisect_left(sequence.starts, length)) :]
            sequence.position = end
        else:
            self.clear(sequence)

    def _remove(self, sequence: Sequence, start: int) -> bool:
        """Give up what a sequence holds from a position on; False if the cache cannot."""
        others = [s for s in self._sequences if s is not sequence and s.tokens]
        if self.in_order and any(other.busy for other in others):
            llama.llama_memory_seq_cp(self._memory, sequence.id, self._remains, start, -1)
            self._num_remains += max(0, sequence.position - start)
        elif others:
            self._scattered = True
        return bool(llama.llama_memory_seq_rm(self._memory, sequence.id, start or -1, -1))

    def _free_remains(self, least: int) -> bool:
        """Free what nobody needs any more, if there is more of it than `least`."""
        if self._num_remains <= max(least, _REMAINS if least > 0 else 0):
            return False
        llama.llama_memory_seq_rm(self._memory, self._remains, -1, -1)
        self._num_remains, self._scattered = 0, True
        return True

    def _num_busy(self) -> int:
        """Tokens that running answers hold."""
        return sum(len(s.tokens) for s in self._sequences if s.busy)

    def _goes_on_alone(self, donor: Held, length: int) -> bool:
        """Whether the first cells are the donor's, no others are taken, and it is the target."""
        others = any(s.tokens for s in self._sequences if s is not donor)
        return not (others or self._scattered) and _mostly(donor, length)

    def _park_all(self, donor: Held, length: int) -> None:
        """Park what is idle, and leave the cache empty."""
        for sequence in self._sequences:
            if sequence.tokens:
                self._park(sequence, length if sequence is donor else 0)
                self.clear(sequence)
        self._scattered = False

    def _intact(self, sequence: Sequence, kept: list[int]) -> bool:
        """Whether what was to be kept is what is there."""
        end = media.positions(kept)
        # All tokens of an image may have its first position.
        last = media.positions(kept[: media.last_begins(kept)])
        there: int = llama.llama_memory_seq_pos_max(self._memory, sequence.id)
        return last <= there < end


def _mostly(held: Held, length: int) -> bool:
    """Whether that many tokens are most of what is held."""
    return 2 * length >= len(held.tokens) > 0

"""What one model has done since the server started, and what it is doing: numbers that only grow,
and a few that show the present.

Fed by what the worker reports anyway: a step costs one look at its events.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ollmlx.engine.jobs import Delta, Event, Usage

WINDOW_SECONDS = 2.0
"""The present, as far as tokens a second are concerned."""
_SHORTEST_SECONDS = 0.2


@dataclass
class Counters:
    """Outlives the model's process.  Written on the engine room's loop; any thread may read it."""

    model: str
    outcomes: dict[str, int] = field(default_factory=dict)
    """How many answers ended how: `stop`, `length`, `cancelled`, `failed`."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompts' tokens, those that were not read again."""
    generated_tokens: int = 0
    prompt_ns: int = 0
    eval_ns: int = 0
    embedded_texts: int = 0
    steps: int = 0
    loads: int = 0
    failed_loads: int = 0
    load_seconds: float = 0.0
    running: int = 0
    """Answers under way, those that wait for their turn in the worker included."""
    held_tokens: int = 0
    """In the KV cache, of answers under way."""
    prompt_pace: float = 0.0
    """Prompt tokens a second, of the last answer that had any to read."""
    told: Callable[[str, Usage | None], None] = lambda outcome, usage: None
    """Called with the outcome of every answer."""
    _batch: int = 0
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def stepped(self, events: Sequence[Event]) -> None:
        """A frame came from the worker."""
        sizes = [len(event.tokens) for event in events if type(event) is Delta]
        if not sizes:
            return
        tokens, now = sum(sizes), time.monotonic()
        self.steps += 1
        self.generated_tokens += tokens
        self._batch = len(sizes)
        self._recent.append((now, tokens))
        while self._recent[0][0] < now - WINDOW_SECONDS:
            self._recent.popleft()

    def begun(self, tokens: int) -> None:
        self.running += 1
        self.held_tokens += tokens

    def ended(self, held: int, outcome: str, usage: Usage | None = None) -> None:
        """`held` tokens leave the cache's account."""
        self.running -= 1
        self.held_tokens -= held
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if usage:
            self._add(usage)
        self.told(outcome, usage)

    def _add(self, usage: Usage) -> None:
        self.prompt_tokens += usage.prompt_tokens
        self.cached_tokens += usage.cached_tokens
        self.prompt_ns += usage.prompt_ns
        self.eval_ns += usage.eval_ns
        if usage.prompt_ns and (read := usage.prompt_tokens - usage.cached_tokens):
            self.prompt_pace = read * 1e9 / usage.prompt_ns

    @property
    def batch(self) -> int:
        """Sequences that gained something in the last step, 0 when nothing runs."""
        return self._batch if self.running else 0

    @property
    def pace(self) -> float:
        """Tokens a second of all sequences together, now."""
        if not self.running:
            return 0.0
        now = time.monotonic()
        recent = [(at, n) for at, n in list(self._recent) if at >= now - WINDOW_SECONDS]
        if not recent:
            return 0.0
        return sum(n for _, n in recent) / max(now - recent[0][0], _SHORTEST_SECONDS)

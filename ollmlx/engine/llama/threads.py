"""How many threads llama.cpp computes with, and how long a step it may take: both by measuring.

All cores are 1.8 times as fast as one on a quiet two-core machine and 2 to 20 times slower beside
a busy neighbour, because llama.cpp's threads spin while they wait for the one that was pushed out.
No number is right, so the number follows the time that steps take; and since one step with too
many threads can take seconds, more are not even tried while other programs need the cores.
"""

import contextlib
import math
import os
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path

import psutil

_SOONEST, _LATEST = 0.25, 8.0
"""Seconds of work between two trials of another number, doubled with each that was in vain."""
_LATEST_AT_TOP = 64.0
"""The same where all cores are used: steps that grow long ask for fewer by themselves."""
_SHARE, _AT_ONCE = 32, 0.1
"""Trials in vain take one part in so many of the work, and so many seconds at first."""
_SAMPLES, _LONG = 3, 1.0
"""Steps that a comparison needs, unless they take so many seconds that one must do."""
_FAR_BETTER, _BETTER, _WORSE = 0.6, 0.93, 1.4
_DEFAULT_CHUNK = 64
_MOST = 512
"""Threads: GGML_MAX_N_THREADS.  llama.cpp takes memory for each, and aborts without it."""


def available_cores(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Physical cores this process may use; a container's CPU quota counts as cores."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    if quota_file.is_file():
        quota, _, period = quota_file.read_text().partition(" ")
        if quota.isdecimal():
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


class FreeCores:
    """How many cores of the machine other programs left to this server, since it was last asked."""

    def __init__(self) -> None:
        worker = psutil.Process()
        self._ours = [worker, *filter(None, [worker.parent()])]
        self._before = self._spent()
        self._asked = time.monotonic()

    def __call__(self, worked: float = math.inf) -> float | None:
        """On average; None if half of that time or more this server did nothing, when others might
        do anything: it worked for so many seconds.
        """
        (before, asked), self._before = (self._before, self._asked), self._spent()
        self._asked = time.monotonic()
        whole, others = (now - then for now, then in zip(self._before, before, strict=True))
        if self._asked - asked >= 2 * worked or whole <= 0:
            return None
        return (1 - others / whole) * (psutil.cpu_count() or 1)

    def _spent(self) -> tuple[float, float]:
        """Processor time in seconds: of the machine, and of others' in it."""
        machine = psutil.cpu_times()
        ours = 0.0
        for process in self._ours:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                ours += times.user + times.system
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        return sum(machine), sum(machine) - idle - ours


class Threads:
    """Climbs along a few numbers of threads towards the one whose steps are shortest.

    Only steps of about the same number of tokens are compared.  Time is what the steps took.
    """

    def __init__(
        self, cores: int, fixed: int = 0, free: Callable[[float], float | None] = lambda _: math.inf
    ) -> None:
        """`fixed` above 0 is the user's own number, never changed; `free` is how many cores other
        programs left since it was last asked, over which time this server worked so long."""
        ladder = {1, cores // 4, cores // 2, cores * 3 // 4, cores - 1, cores}
        self._ladder = [min(fixed, _MOST)] if fixed > 0 else sorted(n for n in ladder if n > 0)
        self._free = free
        room = (free(math.inf) or 0.0) + 0.5
        within = [rung for rung, n in enumerate(self._ladder) if n <= max(room, 1)]
        self._rung = within[-1] if within else len(self._ladder) - 1
        self._slow = 0
        self._forget()
        self._trial: _Trial | None = None
        self._up = False
        self._wait = _SOONEST
        self._worked = 0.0
        self._budget = _AT_ONCE
        self._measured = math.inf
        """Seconds of work since `free` was asked; infinite once its answer is used."""

    @property
    def settled(self) -> int:
        """The number held to be best so far."""
        return self._ladder[self._rung]

    def choose(self, tokens: int) -> int:
        """Threads for a step of that many tokens."""
        if self._trial is None and self._due(tokens):
            if self._slow >= 2:
                self._begin(tokens, room=0.0)
            elif self._measured >= _SOONEST:
                free = self._free(self._measured)
                if free is None or self._measured == math.inf:
                    self._measured = 0.0
                else:
                    self._begin(tokens, free + 0.5)
        trial = self._trial
        return self._ladder[trial.rung] if trial and trial.fits(tokens) else self.settled

    def note(self, tokens: int, seconds: float) -> None:
        """What the step last chosen for took."""
        self._worked += seconds
        self._budget += seconds / _SHARE
        self._measured += seconds
        trial = self._trial
        if trial and trial.fits(tokens):
            trial.times.append(seconds / tokens)
            trial.seconds += seconds
            self._judge(trial)
            return
        recent = self._recent[tokens.bit_length()]
        self._slow = self._slow + 1 if _much_slower(recent, seconds / tokens) else 0
        recent.append(seconds / tokens)

    def _forget(self) -> None:
        self._recent: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=9))
        self._slow = 0

    def _due(self, tokens: int) -> bool:
        known = len(self._recent[tokens.bit_length()])
        if len(self._ladder) == 1 or not known:
            return False
        if known < _SAMPLES:
            return self._wait == _SOONEST and self._worked >= _LONG
        return self._slow >= 2 or self._worked >= self._wait

    def _begin(self, tokens: int, room: float) -> None:
        """Try the next rung: down when steps grew long, otherwise up and down in turn."""
        self._measured = math.inf
        self._up = self._slow < 2 and not self._up
        rung = self._rung + (1 if self._up else -1)
        if not 0 <= rung < len(self._ladder):
            rung = self._rung + (-1 if self._up else 1)
        count = self._ladder[rung]
        if count > max(room, self.settled):
            self._worked, self._slow = 0.0, 0
            return
        before = statistics.median(list(self._recent[tokens.bit_length()])[-_SAMPLES:])
        promising = count > self.settled or self.settled > room
        if promising or before * tokens * self.settled / count <= self._budget:
            self._trial = _Trial(rung, tokens.bit_length(), before)
        else:
            self._worked = self._wait - _SOONEST  # a shorter step may come soon

    def _judge(self, trial: "_Trial") -> None:
        verdict = trial.verdict()
        if verdict is None:
            return
        self._trial, self._worked, self._slow = None, 0.0, 0
        if verdict:
            self._rung, self._wait = trial.rung, _SOONEST
            self._forget()
        else:
            latest = _LATEST_AT_TOP if self.settled == self._ladder[-1] else _LATEST
            self._wait = min(2 * self._wait, latest)
            self._budget -= trial.seconds


class _Trial:
    """Some steps with another number of threads, against what such steps took before."""

    def __init__(self, rung: int, size: int, before: float) -> None:
        self.rung, self._size, self._before = rung, size, before
        self.times: list[float] = []
        self.seconds = 0.0

    def fits(self, tokens: int) -> bool:
        return tokens.bit_length() == self._size

    def verdict(self) -> bool | None:
        """Whether it is better; None while that is open.  One telling step is enough."""
        if self.times[-1] > _WORSE * self._before:
            return False
        if self.times[-1] < _FAR_BETTER * self._before:
            return True
        if len(self.times) < _SAMPLES:
            return None
        return statistics.median(self.times) < _BETTER * self._before


def _much_slower(recent: deque[float], cost: float) -> bool:
    return len(recent) >= _SAMPLES and cost > _WORSE * statistics.median(recent)


class Pace:
    """How many prompt tokens a step may take in while other answers are being written.

    As many as keep a step near `seconds`, so that no running stream stalls; never over `most`.
    """

    def __init__(self, seconds: float = 0.35, least: int = 64, most: int = 512) -> None:
        self._seconds, self._least, self._most = seconds, least, most
        self.cost = seconds / _DEFAULT_CHUNK
        """Seconds that a token of a prompt takes."""

    @property
    def chunk(self) -> int:
        return int(min(max(self._seconds / self.cost, self._least), self._most))

    def note(self, tokens: int, seconds: float) -> None:
        """What a step took; those of a few tokens say only that prompts are read as fast."""
        if tokens >= self._least or seconds / tokens < self.cost:
            self.cost += 0.5 * (seconds / tokens - self.cost)

"""The models that are loaded: lends them, loads and unloads them, makes room.

One load at a time; requests for models that are ready run meanwhile.  A model stays for its
`keep_alive` after the last request on it ended.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from ollmlx.engine import fit, jobs
from ollmlx.engine.counters import Counters
from ollmlx.engine.news import News
from ollmlx.engine.process import ModelProcess
from ollmlx.errors import Busy, LoadFailed, LoadStopped, OllmlxError
from ollmlx.settings import FOREVER, Settings

log = logging.getLogger(__name__)
# A process can end between its load and the first look at it, but not for ever.
LOAD_ATTEMPTS = 3


@dataclass(frozen=True)
class Wanted:
    """A model that a request needs, and how it wants it loaded."""

    load: jobs.Load
    weights: int
    """Bytes on disk."""
    cache_per_token: int
    """Bytes of KV cache for one token of one sequence."""
    layers: int = 0
    """Of a model that can be split between GPU and processor; 0 for one that cannot."""
    automatic: frozenset[str] = frozenset()
    """Names of load options that nobody asked for: a difference in these reloads nothing."""
    identity: str = ""
    """Changes when other weights come to lie at the same path."""
    subject: Any = None
    """Whatever the caller wants back from `residents`."""
    name: str = ""
    """What people call it."""
    anyway: bool = False
    """Load it even where it does not fit by our arithmetic."""

    def satisfied_by(self, other: "Wanted") -> bool:
        """Whether a model loaded for `other` serves this request as it is."""
        if (self.load.path, self.load.backend) != (other.load.path, other.load.backend):
            return False
        if self.identity != other.identity:
            return False
        mine, theirs = structs.asdict(self.load.options), structs.asdict(other.load.options)
        return all(
            value == theirs[name] or (name in self.automatic and name in other.automatic)
            for name, value in mine.items()
            if name not in ("num_parallel", "num_cells")
            and (name, value) not in (("num_gpu", -1), ("use_mmap", None))
        )


@dataclass(eq=False)
class Resident:
    """A loaded model, or one that is loading."""

    wanted: Wanted
    keep_alive: float
    """Seconds; infinity for ever."""
    process: ModelProcess | None = None
    users: int = 0
    fraction: float = 0.0
    """Of the load, 0 to 1."""
    expires_at: float = FOREVER
    """Unix time; while in use, when it would expire if the last request ended now."""
    used_at: float = 0.0
    options: jobs.LoadOptions | None = None
    """As it is loaded; None as long as that is not settled."""
    leaving: bool = False
    """Being evicted: it ends what it has begun and takes nothing new."""
    timer: asyncio.TimerHandle | None = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ready(self) -> bool:
        return self.process is not None and self.process.alive


@dataclass(eq=False)
class Loading:
    """A load under way.  The model is lent to all who wait before the next load may evict it."""

    task: "asyncio.Task[Resident]"
    waiting: int = 0
    resident: Resident | None = None
    """Once it is lent."""


class Pool:
    """Lives on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._residents: dict[str, Resident] = {}
        self._loads: dict[jobs.Load, Loading] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._closers: set[asyncio.Task[None]] = set()
        self.news = News()
        self.counters: dict[str, Counters] = {}
        """Of every model that was wanted since the start, by path."""

    @asynccontextmanager
    async def lend(
        self, wanted: Wanted, keep_alive: float | None
    ) -> AsyncGenerator[ModelProcess, None]:
        """A process with the model, loading it if need be.  None keeps the keep-alive it has.

        Raises `Busy` when too many requests wait for a load, `LoadFailed` when the model cannot be
        loaded.
        """
        resident = await self._borrow(wanted, keep_alive)
        if keep_alive is not None:
            resident.keep_alive = keep_alive
        try:
            assert resident.process
            yield resident.process
        finally:
            self._release(resident)

    def residents(self) -> list[Resident]:
        """Loaded and loading models, the one that stays longest first."""
        found = [r for r in self._residents.values() if r.ready or not r.process]
        return sorted(found, key=lambda r: -self.expiry(r))

    def resident(self, path: str) -> Resident | None:
        return self._residents.get(path)

    def expiry(self, resident: Resident) -> float:
        """Unix time at which a model goes if nobody asks for it again."""
        in_use = resident.users or not resident.process
        return time.time() + resident.keep_alive if in_use else resident.expires_at

    @property
    def busy(self) -> bool:
        """For any thread."""
        lent = any(r.users for r in [*self._residents.values()])
        return bool(lent or self._waiting or self._loads)

    def unload(self, path: str) -> None:
        """Unload now, or when the requests running on it have ended.  Not loaded is fine."""
        if resident := self._residents.get(path):
            resident.keep_alive, resident.expires_at = 0, time.time()
            if resident.ready and not resident.users:
                self._expire(resident)

    async def stop(self, path: str) -> None:
        """End a model's load, or its process with all that runs on it, now.  Not there is fine.

        Who waits for it is answered with `LoadStopped` or `WorkerDied`.
        """
        await self._end_loads(path)
        if resident := self._residents.get(path):
            self._expire(resident)
        await self._closed()

    def keep(self, path: str, keep_alive: float) -> bool:
        """Let a loaded model stay so many seconds after its last use; whether it is loaded."""
        resident = self._residents.get(path)
        if not resident or resident.leaving:
            return False
        resident.keep_alive = keep_alive
        if resident.ready and not resident.users:
            self._take(resident)
            self._release(resident)  # which begins the time anew
        return True

    @property
    def waiting(self) -> int:
        """Requests that wait for a load."""
        return self._waiting

    async def close(self) -> None:
        """Unload everything; requests under way are answered with an error."""
        await self._end_loads()
        for resident in list(self._residents.values()):
            self._expire(resident)
        await self._closed()

    # -- lending -----------------------------------------------------------------------------------

    async def _borrow(self, wanted: Wanted, keep_alive: float | None) -> Resident:
        """A model with this request among its users."""
        for _ in range(LOAD_ATTEMPTS):
            if resident := self._ready(wanted):
                self._take(resident)
                return resident
            loaded = await self._queue(wanted, keep_alive)
            if loaded.ready:
                return loaded
            self._release(loaded)
        why = loaded.process and loaded.process.died()
        raise LoadFailed(f"the model's process ends when it has loaded: {why}")

    def _ready(self, wanted: Wanted) -> Resident | None:
        resident = self._residents.get(wanted.load.path)
        if resident and resident.process and not resident.process.alive:
            self._expire(resident)  # it crashed: whoever waited has been told
            return None
        stays = resident and resident.ready and not resident.leaving
        return resident if resident and stays and wanted.satisfied_by(resident.wanted) else None

    async def _queue(self, wanted: Wanted, keep_alive: float | None) -> Resident:
        if self._waiting > self._settings.max_queue:
            raise Busy
        if not (loading := self._loads.get(wanted.load)):
            task = asyncio.create_task(self._load(wanted, keep_alive))
            # All who asked may have left when it fails.
            task.add_done_callback(lambda load: load.cancelled() or load.exception())
            loading = self._loads[wanted.load] = Loading(task)
        self._waiting += 1
        loading.waiting += 1
        try:
            # Shielded: a client that leaves does not take the load away from others.
            return await asyncio.shield(loading.task)
        except asyncio.CancelledError:
            loading.waiting -= 1
            if loading.resident:
                self._release(loading.resident)
            if loading.task.cancelled():
                raise LoadStopped from None  # it is the load that was cancelled, not we
            raise
        finally:
            self._waiting -= 1

    def _take(self, resident: Resident) -> None:
        resident.users += 1
        resident.idle.clear()
        if resident.timer:
            resident.timer.cancel()
            resident.timer = None

    def _release(self, resident: Resident) -> None:
        resident.users -= 1
        if resident.users:
            return
        resident.used_at = time.time()
        resident.idle.set()
        self._start_timer(resident)

    def _start_timer(self, resident: Resident) -> None:
        if resident.keep_alive <= 0 or not resident.ready:
            self._expire(resident)
            return
        resident.expires_at = time.time() + resident.keep_alive
        if resident.keep_alive != FOREVER:
            loop = asyncio.get_running_loop()
            resident.timer = loop.call_later(resident.keep_alive, self._expire, resident)

    def _expire(self, resident: Resident) -> None:
        if self._residents.get(resident.wanted.load.path) is not resident:
            return  # it has gone already
        del self._residents[resident.wanted.load.path]
        if resident.timer:
            resident.timer.cancel()
        resident.idle.set()
        if resident.process:
            log.info("unloading %s", resident.wanted.load.path)
            self.news.tell("model_unloaded", resident.wanted.name)
            task = asyncio.create_task(resident.process.close())
            self._closers.add(task)
            task.add_done_callback(self._closers.discard)

    async def _closed(self) -> None:
        """Memory is only free when its process has gone.  Cancelling this cancels no closing."""
        if self._closers:
            await asyncio.wait(self._closers)

    # -- loading -----------------------------------------------------------------------------------

    async def _load(self, wanted: Wanted, keep_alive: float | None) -> Resident:
        loading = self._loads[wanted.load]
        try:
            async with self._turn:
                resident = self._ready(wanted) or await self._start(wanted, keep_alive)
                loading.resident = resident
                for _ in range(loading.waiting):
                    self._take(resident)
                if not resident.users and not resident.timer:
                    # Whoever asked has left: it stays for its time all the same.
                    self._start_timer(resident)
                return resident
        finally:
            del self._loads[wanted.load]

    async def _end_loads(self, path: str | None = None) -> None:
        """Of one model or of all.  Who waits is answered with `LoadStopped`."""
        ending = [(load, it) for load, it in self._loads.items() if path in (None, load.path)]
        for _, loading in ending:
            loading.task.cancel()
        if ending:
            await asyncio.wait([loading.task for _, loading in ending])
        for load in [load for load, it in self._loads.items() if it.task.done()]:
            del self._loads[load]  # it had not even begun

    async def _start(self, wanted: Wanted, keep_alive: float | None) -> Resident:
        if old := self._residents.get(wanted.load.path):
            await self._evict(old)
        load = await self._make_room(wanted)
        resident = Resident(wanted, self._settings.keep_alive if keep_alive is None else keep_alive)
        resident.options = load.options
        self._residents[wanted.load.path] = resident
        log.info("loading %s", wanted.load.path)
        try:
            resident.process = await self._started(load, wanted, resident)
        finally:
            if resident.process is None:
                self._expire(resident)
        return resident

    async def _started(self, load: jobs.Load, wanted: Wanted, resident: Resident) -> ModelProcess:
        counters, began = self._counters(wanted), time.monotonic()

        def report(fraction: float) -> None:
            resident.fraction = fraction

        try:
            process = await ModelProcess.start(load, self._settings.load_timeout, report, counters)
        except OllmlxError as error:
            counters.failed_loads += 1
            log.warning("loading %s failed: %s", wanted.load.path, error)
            self.news.tell("model_load_failed", wanted.name, error=str(error))
            raise
        seconds = time.monotonic() - began
        counters.loads += 1
        counters.load_seconds += seconds
        self.news.tell("model_loaded", wanted.name, seconds=seconds, size=process.info.size)
        return process

    def _counters(self, wanted: Wanted) -> Counters:
        name = wanted.name or wanted.load.path

        def told(outcome: str, usage: jobs.Usage | None) -> None:
            facts = structs.asdict(usage) if usage else {}
            self.news.tell("request_finished", name, outcome=outcome, **facts)

        counters = self.counters.setdefault(wanted.load.path, Counters(name, told=told))
        counters.model = name
        return counters

    async def _make_room(self, wanted: Wanted) -> jobs.Load:
        """Unload until the model may be loaded; the load, with the number of sequences settled."""
        options = wanted.load.options
        while len(self._residents) >= self._settings.max_loaded_models:
            await self._evict(self._victim())
        while True:
            await self._closed()
            sizes = (wanted.weights, wanted.cache_per_token, options.num_ctx)
            ways = (options.num_parallel, options.num_gpu)
            demand = await asyncio.to_thread(fit.demand, wanted.load.backend, *sizes, *ways)
            if demand.fits:
                break
            if self._residents:
                await self._evict(self._victim())
                continue
            if demand.on_gpu and wanted.layers:  # who names a number of layers has reckoned
                if options.num_gpu < 0:
                    layers = fit.layers(wanted.layers, demand.needed, demand.room)
                    options = structs.replace(options, num_gpu=layers)
                break
            if wanted.anyway:
                log.warning("loading %s anyway: %s", wanted.name, demand)
                break
            raise LoadFailed(
                f"model requires {fit.gib(demand.needed)} but only {fit.gib(demand.room)} are"
                f" available (after {fit.gib(fit.OVERHEAD)} overhead): {fit.ADVICE}"
            )
        settled = structs.replace(options, num_parallel=demand.slots, num_cells=demand.cells)
        return structs.replace(wanted.load, options=settled)

    def _victim(self) -> Resident:
        """The idle model that was used longest ago, or if all work, the one to go first."""
        return min(self._residents.values(), key=lambda r: (bool(r.users), r.used_at))

    async def _evict(self, resident: Resident) -> None:
        """Unload a model once its requests have ended; new ones for it wait for a load."""
        resident.leaving = True
        try:
            while resident.users:
                resident.idle.clear()
                await resident.idle.wait()
        except asyncio.CancelledError:
            resident.leaving = False
            raise
        self._expire(resident)
        await self._closed()

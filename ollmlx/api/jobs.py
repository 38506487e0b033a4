"""Long changes of the store as jobs of the server: seen by all, paused, gone on with and ended from
anywhere.

One job for each kind and model.  Requests follow a job; when the last of them leaves, it ends
early, unless it is kept: then it goes on by itself, after a restart of the server too.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from ollmlx.api.progress import Frames
from ollmlx.engine.news import Kind, News
from ollmlx.errors import OllmlxError
from ollmlx.store.jobfiles import JobFiles, KeptJob
from ollmlx.wire import live
from ollmlx.wire.encode import timestamp
from ollmlx.wire.native import ProgressResponse

Sizes = dict[str, int]
"""Bytes of every file by digest, written down as soon as they are known."""
Begin = Callable[[Sizes], Frames]
WINDOW_SECONDS = 5.0
"""What a speed is taken over."""
_MOST_ENDED = 100
"""Jobs that are listed after their end."""
_DONE: dict[live.JobKind, Kind] = {
    "pull": "model_pulled",
    "push": "model_pushed",
    "create": "model_created",
    "convert": "model_created",
}
_log = logging.getLogger(__name__)


class Halted(OllmlxError):
    """Somebody paused or cancelled the job that a request followed."""


class Job:
    """Lives on the engine room's loop."""

    def __init__(
        self, kind: live.JobKind, model: str, request: dict[str, Any], begin: Begin
    ) -> None:
        self.id = secrets.token_hex(6)
        self.kind, self.model, self.request, self.begin = kind, model, request, begin
        self.created_at = timestamp(datetime.now(UTC))
        self.status: live.JobStatus = "paused"
        self.step = self.error = ""
        self.kept = False
        self.sizes: Sizes = {}
        self.fetched: dict[str, int] = {}
        """Of each file, what is here."""
        self.followers = 0
        self.task: asyncio.Task[None] | None = None
        """Follows it for the server's sake; None once that has ended."""
        self.halt, self.left = asyncio.Event(), asyncio.Event()
        self.writing = asyncio.Lock()
        self._current = ""
        self._samples: deque[tuple[float, int]] = deque()

    def begun(self) -> None:
        self.status, self.step, self.error = "running", "", ""
        self._samples.clear()
        self.halt.clear()
        self.left.clear()

    def note(self, frame: ProgressResponse) -> None:
        self.step = frame.status
        if frame.digest != self._current:
            # The last frame of a file need not say that it is whole; the next step does.
            self.fetched.update({d: self.sizes[d] for d in self.fetched if d == self._current})
            self._current = frame.digest
        if not frame.digest:
            return
        self.sizes[frame.digest] = frame.total
        self.fetched[frame.digest] = frame.completed
        now = time.monotonic()
        self._samples.append((now, self.completed))
        while self._samples[0][0] < now - WINDOW_SECONDS:
            self._samples.popleft()

    @property
    def completed(self) -> int:
        return sum(self.fetched.values())

    @property
    def speed(self) -> int:
        """Bytes a second; 0 also before there is enough to tell."""
        if self.status != "running" or len(self._samples) < 2:
            return 0
        (first, before), now = self._samples[0], time.monotonic()
        return int(max(0, self.completed - before) / max(now - first, 0.1))

    def shown(self) -> live.Job:
        total, speed = sum(self.sizes.values()), self.speed
        return live.Job(
            id=self.id,
            kind=self.kind,
            model=self.model,
            status=self.status,
            step=self.step,
            completed=self.completed,
            total=total,
            speed=speed,
            eta=round((total - self.completed) / speed, 1) if speed else None,
            error=self.error,
            created_at=self.created_at,
        )

    def written(self) -> KeptJob:
        return KeptJob(
            id=self.id,
            kind=self.kind,
            model=self.model,
            request=self.request,
            status=self.status,
            created_at=self.created_at,
            error=self.error,
            sizes=self.sizes,
            completed=self.fetched,
        )


class Jobs:
    """Lives on the engine room's loop."""

    def __init__(self, news: News, files: JobFiles) -> None:
        self._news, self._files = news, files
        self._jobs: dict[tuple[str, str], Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        """Of jobs that are off the list, too."""

    def list(self) -> list[Job]:
        """Newest first."""
        return sorted(self._jobs.values(), key=lambda job: job.created_at, reverse=True)

    def find(self, job_id: str) -> Job | None:
        return next((job for job in self._jobs.values() if job.id == job_id), None)

    @property
    def busy(self) -> bool:
        """For any thread."""
        return any(job.status == "running" for job in [*self._jobs.values()])

    # -- what requests do with them ---------------------------------------------------------------

    async def follow(
        self, kind: live.JobKind, model: str, request: dict[str, Any], begin: Begin
    ) -> Frames:
        """The frames of work that is seen as a job meanwhile; raises what it raises, or `Halted`.

        Who joins a job that runs has its own frames and shares the downloads.
        """
        job = self._job(kind, model, request, begin)
        async with aclosing(self._followed(job)) as frames:
            async for frame in frames:
                yield frame

    async def start(
        self, kind: live.JobKind, model: str, request: dict[str, Any], begin: Begin
    ) -> Job:
        """A job that goes on without anybody following it."""
        job = self._job(kind, model, request, begin)
        await self.resume(job)
        return job

    async def resume(self, job: Job) -> None:
        """Go on with a job; one that runs goes on, and is kept from now on."""
        job.kept = True
        if job.halt.is_set():
            await job.left.wait()
        if not job.task:
            self._begin(job)
            job.task = asyncio.create_task(self._keep(job))
            self._tasks.add(job.task)
            job.task.add_done_callback(self._tasks.discard)
        await self._write(job)

    async def halt(self, job: Job, status: live.JobStatus) -> None:
        """End it as `paused` or `cancelled`; returns when nobody works on it any more."""
        while job.status == "running":  # again where somebody has gone on meanwhile
            job.halt.set()
            await job.left.wait()
        if job.status != "done":
            job.status, job.error = status, ""
        await self._write(job)
        self._tell(job)

    async def forget(self, job: Job) -> None:
        """End it and take it off the list; what was fetched waits on the disk for some days."""
        await self.halt(job, "cancelled")
        self._jobs.pop((job.kind, job.model), None)
        job.kept = False
        await asyncio.to_thread(self._files.remove, job.id)
        self._tell(job)

    # -- life with the server ---------------------------------------------------------------------

    async def adopt(self, begin: Callable[[KeptJob], Begin]) -> None:
        """Take over the jobs of servers that are gone, and go on with those that ran."""
        for kept in await asyncio.to_thread(self._files.abandoned):
            kind: Any = kept.kind
            job = self._job(kind, kept.model, kept.request, begin(kept))
            job.id, job.created_at, job.error = kept.id, kept.created_at, kept.error
            job.sizes.update(kept.sizes)
            job.fetched.update(kept.completed)
            job.kept = True
            if kept.status == "running":
                await self.resume(job)
            else:
                job.status = "failed" if kept.status == "failed" else "paused"
                await self._write(job)

    async def close(self) -> None:
        """Stop working; kept jobs go on when a server starts again."""
        kept = [job for job in self._jobs.values() if job.kept]
        left = [job.written() for job in kept if job.status != "done"]
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in kept:  # what is being written is older than what follows
            async with job.writing:
                pass
        try:
            self._files.release(left)  # at the end of the interpreter there are no threads
        except OllmlxError as error:
            _log.warning("jobs end with the server: %s", error)
        # Somebody else who followed a job may have seen its end before its own task did.
        for job in kept:
            if job.status == "done":
                await self._write(job)

    # -- parts ------------------------------------------------------------------------------------

    def _job(self, kind: live.JobKind, model: str, request: dict[str, Any], begin: Begin) -> Job:
        """The one there is, unless it has ended well: that one makes room for a new one."""
        job = self._jobs.get((kind, model))
        if job is None or job.status == "done":
            job = self._jobs[kind, model] = Job(kind, model, request, begin)
        elif job.status != "running":
            job.request, job.begin = request, begin
        self._drop_ended()
        return job

    def _drop_ended(self) -> None:
        ended = [job for job in self.list() if job.status in ("done", "cancelled", "failed")]
        for job in ended[_MOST_ENDED:]:
            if job.status == "done" or not job.kept:
                self._jobs.pop((job.kind, job.model))

    def _begin(self, job: Job) -> None:
        if job.status != "running":
            job.begun()
            self._tell(job)

    async def _keep(self, job: Job) -> None:
        """Follow a job to its end; how it ended is written down."""
        try:
            async for _ in self._followed(job):
                pass
        except OllmlxError as error:
            _log.info("%s of %s: %s", job.kind, job.model, error)
        finally:
            job.task = None
        await self._write(job)

    async def _followed(self, job: Job) -> Frames:
        self._begin(job)
        job.followers += 1
        status: live.JobStatus = "failed"
        error = "internal server error"
        try:
            async with aclosing(self._until_halted(job)) as frames:
                async for frame in frames:
                    job.note(frame)
                    yield frame
            status, error = "done", ""
        except (asyncio.CancelledError, GeneratorExit):
            status, error = "cancelled", ""
            raise
        except Halted:
            status, error = "paused", ""
            raise
        except OllmlxError as failure:
            error = str(failure)
            raise
        finally:
            self._unfollow(job, status, error)

    def _unfollow(self, job: Job, status: live.JobStatus, error: str) -> None:
        """The last to leave says how it ended, unless somebody saw the good end."""
        job.followers -= 1
        if status == "done" and job.status != "done":
            self._news.tell(_DONE[job.kind], job.model)
        if status == "done" or (job.status == "running" and not job.followers):
            job.status, job.error = status, error
            self._tell(job)
        if not job.followers:
            job.left.set()

    async def _until_halted(self, job: Job) -> Frames:
        halted = asyncio.create_task(job.halt.wait())
        async with aclosing(job.begin(job.sizes)) as frames:
            try:
                while (frame := await self._next(frames, halted, job)) is not None:
                    yield frame
            finally:
                halted.cancel()

    async def _next(
        self, frames: Frames, halted: "asyncio.Task[Any]", job: Job
    ) -> ProgressResponse | None:
        """None at the end."""
        step = asyncio.ensure_future(anext(frames, None))
        try:
            await asyncio.wait({step, halted}, return_when=asyncio.FIRST_COMPLETED)
            if step.done():
                return step.result()
        finally:
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
        raise Halted(f"the {job.kind} of {job.model} was stopped")

    async def _write(self, job: Job) -> None:
        """Goes on when nobody waits for it any more: a thread cannot be cancelled."""
        await asyncio.shield(self._write_down(job))

    async def _write_down(self, job: Job) -> None:
        """A job that cannot be written down ends with the server; it goes on all the same."""
        async with job.writing:  # or an older state might be written last
            if not job.kept:
                return
            try:
                if job.status == "done":
                    await asyncio.to_thread(self._files.remove, job.id)
                else:
                    await asyncio.to_thread(self._files.write, job.written())
            except OllmlxError as error:
                _log.warning("the %s of %s ends with the server: %s", job.kind, job.model, error)

    def _tell(self, job: Job) -> None:
        self._news.tell("job_changed", job.model, job=job.kind, status=job.status)

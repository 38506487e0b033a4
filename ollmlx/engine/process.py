"""The server's handle on a model's process: frames in and out become async generators.

The one boundary between asyncio and an engine.  Closing a generator cancels its job.
"""

import asyncio
import itertools
import logging
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from ollmlx.engine import jobs
from ollmlx.engine.counters import Counters
from ollmlx.errors import LoadFailed, OllmlxError, WorkerDied, with_status

log = logging.getLogger(__name__)
Mailbox = asyncio.Queue[jobs.Event | None]
STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal"
    " error, check ollama server logs for details"
)


class ModelProcess:
    """One loaded model.  Use it from the event loop that started it."""

    info: jobs.ModelInfo

    def __init__(self, process: asyncio.subprocess.Process, counters: Counters) -> None:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self._process, self._stdin = process, process.stdin
        self.counters = counters
        self._mailboxes: dict[int, Mailbox] = {-1: asyncio.Queue()}
        self._ids = itertools.count()
        self._last_words: deque[str] = deque(maxlen=40)
        self._closing = self._ended = False
        self._listener = asyncio.create_task(self._listen(process.stdout))
        self._eavesdropper = asyncio.create_task(self._overhear(process.stderr))

    # -- life --------------------------------------------------------------------------------------

    @classmethod
    async def start(
        cls,
        load: jobs.Load,
        stall_seconds: float,
        report: Callable[[float], None] = lambda fraction: None,
        counters: Counters | None = None,
    ) -> "ModelProcess":
        """Start a process and load a model in it.

        Raises `LoadFailed` or `Unavailable` with the engine's reason, `LoadFailed` after
        `stall_seconds` without progress.  Cancelling ends the process.
        """
        process = await asyncio.create_subprocess_exec(
            # -P: a `queue.py` or `mlx.py` in the user's folder must not stand in for the real one.
            *(sys.executable, "-P", "-m", "ollmlx.engine.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "GGML_NO_BACKTRACE": "1"},
        )
        self = cls(process, counters or Counters(load.path))
        async with AsyncExitStack() as unless_loaded:
            unless_loaded.push_async_callback(self.close)
            self._send(load)
            self.info = await self._loaded(stall_seconds, report)
            unless_loaded.pop_all()
        return self

    @property
    def alive(self) -> bool:
        return not self._ended

    @property
    def pid(self) -> int:
        return self._process.pid

    async def close(self) -> None:
        """End the process; jobs still running are answered with an error."""
        self._closing = True
        self._stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        finally:
            await asyncio.gather(self._listener, self._eavesdropper)
            await self._process.wait()

    async def _loaded(
        self, stall_seconds: float, report: Callable[[float], None]
    ) -> jobs.ModelInfo:
        while True:
            try:
                async with asyncio.timeout(
                    None if stall_seconds == float("inf") else stall_seconds
                ):
                    event = await self._mailboxes[-1].get()
            except TimeoutError as error:
                raise LoadFailed(
                    f"timed out waiting for the model to load: {stall_seconds:g} s without progress"
                    " (OLLAMA_LOAD_TIMEOUT)"
                ) from error
            match event:
                case jobs.Loaded(info=info):
                    del self._mailboxes[-1]
                    return info
                case jobs.Progress(fraction=fraction):
                    report(fraction)
                case jobs.Failed(reason=reason, status=status):
                    raise LoadFailed(reason) if status == 500 else with_status(status, reason)
                case _:
                    raise self.died()

    # -- work --------------------------------------------------------------------------------------

    async def generate(self, job: jobs.Generate) -> AsyncGenerator[jobs.Delta, None]:
        """Yield deltas until the one with `finish`.  The job's id is given here."""
        job_id, mailbox = self._mailbox()
        finished, outcome, held = False, "cancelled", len(job.prompt)
        usage: jobs.Usage | None = None
        self.counters.begun(held)
        try:
            self._send(structs.replace(job, id=job_id))
            while not finished:
                event = await self._next(mailbox)
                assert isinstance(event, jobs.Delta)
                held += len(event.tokens)
                self.counters.held_tokens += len(event.tokens)
                if event.finish is not None:
                    finished, outcome, usage = True, event.finish, event.usage
                yield event
        except OllmlxError:
            finished, outcome = True, "failed"
            raise
        finally:
            del self._mailboxes[job_id]
            self.counters.ended(held, outcome, usage)
            if not finished:
                self._send(jobs.Cancel(job_id))

    async def embed(self, inputs: list[list[int]]) -> NDArray[np.float32]:
        """Token ids of each text → float32 (texts, dimensions), as the model pooled them."""
        event = await self._ask(jobs.Embed(0, inputs))
        assert isinstance(event, jobs.Embedded)
        self.counters.embedded_texts += len(inputs)
        return np.frombuffer(event.vectors, "<f4").reshape(len(inputs), event.dimensions)

    async def tokenize(self, texts: list[str], special: bool = True) -> list[list[int]]:
        event = await self._ask(jobs.Tokenize(0, texts, special))
        assert isinstance(event, jobs.Tokens)
        return event.tokens

    async def look(self, files: list[bytes]) -> list[list[int]]:
        """What images and sounds are in a prompt, one list of tokens for each."""
        event = await self._ask(jobs.Look(0, files))
        assert isinstance(event, jobs.Tokens)
        return event.tokens

    async def detokenize(self, tokens: list[int]) -> str:
        event = await self._ask(jobs.Detokenize(0, tokens))
        assert isinstance(event, jobs.Text)
        return event.text

    async def _ask(
        self, command: jobs.Embed | jobs.Tokenize | jobs.Detokenize | jobs.Look
    ) -> jobs.Event:
        job_id, mailbox = self._mailbox()
        answered = False
        try:
            self._send(structs.replace(command, id=job_id))
            event = await self._next(mailbox)
            answered = True
            return event
        except OllmlxError:
            answered = True
            raise
        finally:
            del self._mailboxes[job_id]
            if not answered:
                self._send(jobs.Cancel(job_id))

    def _mailbox(self) -> tuple[int, Mailbox]:
        job_id, mailbox = next(self._ids), Mailbox()
        self._mailboxes[job_id] = mailbox
        if not self.alive:
            mailbox.put_nowait(None)
        return job_id, mailbox

    async def _next(self, mailbox: Mailbox) -> jobs.Event:
        event = await mailbox.get()
        if event is None:
            raise self.died()
        if isinstance(event, jobs.Failed):
            raise with_status(event.status, event.reason)
        return event

    def died(self) -> WorkerDied:
        """Why it has ended."""
        if self._closing:
            return WorkerDied("the model was unloaded before it had answered")
        words = f": {self._last_words[-1]}" if self._last_words else ""
        return WorkerDied(f"{STOPPED}{words}")

    # -- pipes -------------------------------------------------------------------------------------

    def _send(self, command: jobs.Command) -> None:
        if not self._stdin.is_closing():
            self._stdin.write(jobs.frame(command))

    async def _listen(self, stdout: asyncio.StreamReader) -> None:
        try:
            while True:
                (length,) = jobs.LENGTH.unpack(await stdout.readexactly(jobs.LENGTH.size))
                events = jobs.decode_events(await stdout.readexactly(length))
                self.counters.stepped(events)
                for event in events:
                    # A progress report or a load's failure belongs to the load.
                    mailbox = self._mailboxes.get(getattr(event, "id", -1))
                    if mailbox is not None:
                        mailbox.put_nowait(event)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            self._ended = True
            await asyncio.wait([self._eavesdropper])  # its last words are the reason
            for mailbox in self._mailboxes.values():
                mailbox.put_nowait(None)
            if not self._closing:
                words = (f"ended with {await self._process.wait()}", *self._last_words)
                log.error("model %s %s", self._process.pid, "\n".join(words))

    async def _overhear(self, stderr: asyncio.StreamReader) -> None:
        """Runtimes print their reasons just before they die: log what they say and keep the end of
        it.
        """
        while chunk := await stderr.read(1 << 16):  # a line may be longer than any limit
            for line in filter(None, chunk.decode("utf-8", "replace").splitlines()):
                log.debug("model %s: %s", self._process.pid, line)
                self._last_words.append(line)

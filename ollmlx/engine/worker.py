"""A model's process: commands in on stdin, frames of events out on stdout, one thread that owns the
runtime.

It ends when stdin does, so it never outlives its server, however that died.
"""

import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import BinaryIO

from ollmlx.engine import jobs
from ollmlx.engine.backend import Backend, load
from ollmlx.errors import OllmlxError

Inbox = queue.SimpleQueue[jobs.Command]
MOMENT = 1 / 30
"""Seconds; widgets draw no oftener."""
FAILED = "an error was encountered while running the model"
Question = jobs.Tokenize | jobs.Detokenize | jobs.Look


def main() -> None:
    outbox, inbox = Outbox(), Inbox()
    reader = Reader(sys.stdin.buffer, inbox, outbox)
    threading.Thread(target=reader.run, daemon=True).start()
    command = inbox.get()
    assert isinstance(command, jobs.Load)
    backend = _load(command, outbox)
    reader.backend = backend
    outbox.send([jobs.Loaded(backend.info)])
    try:
        _serve(backend, inbox, outbox)
    finally:
        traceback.print_exc()
        # Python would wait for what a library's threads still do, and nobody would be answered.
        os._exit(1)


class Outbox:
    """The pipe for frames: whatever a library prints goes to stderr instead."""

    def __init__(self) -> None:
        self._pipe = os.fdopen(os.dup(1), "wb", buffering=0)
        self._lock = threading.Lock()
        self._held = bytearray()
        self._left = 0.0
        os.dup2(2, 1)

    def send(self, events: list[jobs.Event]) -> None:
        with self._lock:
            self._held += jobs.frame(events)
            self._flush()

    def send_soon(self, events: list[jobs.Event]) -> None:
        """Send what a step gave, or hold it until the next call when a step's left a moment ago.

        Nobody reads faster, and every frame wakes the server and its client, on cores that the
        next step needs.
        """
        with self._lock:
            self._held += jobs.frame(events)
            if time.monotonic() - self._left >= MOMENT:
                self._flush()

    def flush(self) -> None:
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        self._left = time.monotonic()
        frames, self._held = memoryview(self._held), bytearray()
        while frames:
            frames = frames[self._pipe.write(frames) :]


class Reader:
    """Hands commands to the thread that owns the runtime.

    Counting the tokens of texts and images needs no runtime, so it does not wait for a step's end.
    """

    backend: Backend | None = None

    def __init__(self, stdin: BinaryIO, inbox: Inbox, outbox: Outbox) -> None:
        self._stdin, self._inbox, self._outbox = stdin, inbox, outbox

    def run(self) -> None:
        try:
            while len(header := self._stdin.read(jobs.LENGTH.size)) == jobs.LENGTH.size:
                (length,) = jobs.LENGTH.unpack(header)
                command = jobs.decode_command(self._stdin.read(length))
                if isinstance(command, jobs.Tokenize | jobs.Look) and self.backend:
                    self._outbox.send([_answered(self.backend, command)])
                else:
                    self._inbox.put(command)
        finally:
            if sys.exception():
                traceback.print_exc()
            # The server is gone, or a library panicked, which is no Exception.  The runtime may be
            # deep in a long step: nobody waits for it.
            os._exit(0)


def _load(command: jobs.Load, outbox: Outbox) -> Backend:
    def report(fraction: float) -> None:
        outbox.send([jobs.Progress(fraction)])

    try:
        return load(command.backend, command.path, command.options, report)
    except OllmlxError as error:
        outbox.send([jobs.Failed(-1, str(error), error.status)])
        sys.exit(1)
    except Exception as error:
        outbox.send([jobs.Failed(-1, f"unable to load model {command.path}: {error!r}")])
        raise


def _serve(backend: Backend, inbox: Inbox, outbox: Outbox) -> None:
    owed, heard = set[int](), set[int]()
    try:
        while True:
            for command in _commands(inbox, block=not backend.busy):
                outbox.flush()  # what it asks for may take long
                if isinstance(command, Question):
                    outbox.send([_answered(backend, command)])
                else:
                    _obey(backend, command, owed)
            if backend.busy and (events := backend.step()):
                told = {event.id for event in events}
                owed -= {event.id for event in events if _ends(event)}
                # Neither an answer's first token waits for the next step, nor its last.
                (outbox.send_soon if told <= heard & owed else outbox.send)(list(events))
                heard = (heard | told) & owed
                if not backend.busy:
                    backend.rest()
    except Exception as error:
        # The runtime's state is unknown: answer all who wait and let the next request load it anew.
        reason = f"{FAILED}: {error}"
        outbox.send([jobs.Failed(job_id, reason) for job_id in owed])
        raise


def _commands(inbox: Inbox, block: bool) -> Iterator[jobs.Command]:
    try:
        yield inbox.get(block=block)
        while True:
            yield inbox.get(block=False)
    except queue.Empty:
        return


def _obey(backend: Backend, command: jobs.Command, owed: set[int]) -> None:
    match command:
        case jobs.Generate():
            owed.add(command.id)
            backend.submit(command)
        case jobs.Embed():
            owed.add(command.id)
            backend.embed(command)
        case jobs.Cancel():
            owed.discard(command.id)
            backend.cancel(command.id)


def _answered(backend: Backend, command: Question) -> jobs.Event:
    try:
        if isinstance(command, jobs.Look):
            return jobs.Tokens(command.id, backend.look(command.files))
        if isinstance(command, jobs.Detokenize):
            return jobs.Text(command.id, backend.detokenize(command.tokens))
        tokens = [backend.tokenize(text, command.special) for text in command.texts]
        return jobs.Tokens(command.id, tokens)
    except OllmlxError as error:
        return jobs.Failed(command.id, str(error), error.status)
    except Exception as error:  # noqa: BLE001  # a library's, of a text or file it chokes on
        return jobs.Failed(command.id, f"{FAILED}: {error!r}")


def _ends(event: jobs.Delta | jobs.Embedded | jobs.Failed) -> bool:
    return not isinstance(event, jobs.Delta) or event.finish is not None


if __name__ == "__main__":
    main()

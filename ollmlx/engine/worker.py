"""A model's process: commands in on stdin, frames of events out on stdout, one thread that owns the
runtime.

It ends when stdin does, so it never outlives its server, however that died.
"""

import os
import queue
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO

from ollmlx.engine import jobs
from ollmlx.engine.backend import Backend, load
from ollmlx.errors import OllmlxError

Inbox = queue.SimpleQueue[jobs.Command]


def main() -> None:
    stdout = _private_stdout()
    inbox: Inbox = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, inbox), daemon=True).start()
    command = inbox.get()
    assert isinstance(command, jobs.Load)
    backend = _load(command, stdout)
    _serve(backend, inbox, stdout)


def _private_stdout() -> BinaryIO:
    """Keep the pipe for frames: whatever a library prints goes to stderr instead."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "wb", buffering=0)


def _read(stdin: BinaryIO, inbox: Inbox) -> None:
    while header := stdin.read(jobs.LENGTH.size):
        if len(header) < jobs.LENGTH.size:
            break
        (length,) = jobs.LENGTH.unpack(header)
        inbox.put(jobs.decode_command(stdin.read(length)))
    # The server is gone.  The runtime may be deep in a long step: nobody is left to wait for it.
    os._exit(0)


def _send(stdout: BinaryIO, events: list[jobs.Event]) -> None:
    frame = memoryview(jobs.frame(events))
    while frame:
        frame = frame[stdout.write(frame) :]


def _load(command: jobs.Load, stdout: BinaryIO) -> Backend:
    def report(fraction: float) -> None:
        _send(stdout, [jobs.Progress(fraction)])

    try:
        backend = load(command.backend, command.path, command.options, report)
    except OllmlxError as error:
        _send(stdout, [jobs.Failed(-1, str(error), error.status)])
        sys.exit(1)
    _send(stdout, [jobs.Loaded(backend.info)])
    return backend


def _serve(backend: Backend, inbox: Inbox, stdout: BinaryIO) -> None:
    owed: set[int] = set()
    try:
        while True:
            for command in _commands(inbox, block=not backend.busy):
                if answer := _obey(backend, command, owed):
                    _send(stdout, [answer])
            if backend.busy and (events := backend.step()):
                owed -= {event.id for event in events if _ends(event)}
                _send(stdout, list(events))
    except Exception as error:
        # The runtime's state is unknown: answer everyone who waits and let the next request load it
        # afresh.
        reason = f"an error was encountered while running the model: {error}"
        _send(stdout, [jobs.Failed(job_id, reason) for job_id in owed])
        raise


def _commands(inbox: Inbox, block: bool) -> Iterator[jobs.Command]:
    try:
        yield inbox.get(block=block)
        while True:
            yield inbox.get(block=False)
    except queue.Empty:
        return


def _obey(backend: Backend, command: jobs.Command, owed: set[int]) -> jobs.Event | None:
    try:
        return _dispatch(backend, command, owed)
    except OllmlxError as error:
        assert not isinstance(command, jobs.Load)
        owed.discard(command.id)
        return jobs.Failed(command.id, str(error), error.status)


def _dispatch(backend: Backend, command: jobs.Command, owed: set[int]) -> jobs.Event | None:
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
        case jobs.Tokenize():
            texts = command.texts
            return jobs.Tokens(command.id, [backend.tokenize(t, command.special) for t in texts])
        case jobs.Detokenize():
            return jobs.Text(command.id, backend.detokenize(command.tokens))
    return None


def _ends(event: jobs.Delta | jobs.Embedded | jobs.Failed) -> bool:
    return not isinstance(event, jobs.Delta) or event.finish is not None


if __name__ == "__main__":
    main()

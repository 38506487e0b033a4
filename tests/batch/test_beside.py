"""Work in a loop beside a caller that is interrupted."""

import asyncio
import os
import signal
import threading

import pytest

from ollmlx.batch.beside import run_beside


def test_a_second_interrupt_goes_on_at_once_and_the_thread_ends_with_its_work():
    at_it, let_go = list[threading.Thread](), threading.Event()

    async def work() -> None:
        at_it.append(threading.current_thread())
        try:
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.to_thread(let_go.wait)

    def glance() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_beside(work(), glance)
    assert at_it[0].is_alive()
    let_go.set()
    at_it[0].join(10)
    assert not at_it[0].is_alive()


def test_what_the_work_raises_is_raised_here():
    async def work() -> None:
        raise LookupError("so not")

    with pytest.raises(LookupError, match="so not"):
        run_beside(work())

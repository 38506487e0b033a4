"""Ctrl-C while `run` answers once: real processes, at a terminal and between pipes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cli.pty_user import at_terminal
from tests.stand_in import StandIn, standing_in

WORDS = ("run", "m:1b", "tell me")


@pytest.fixture
def endless() -> Iterator[StandIn]:
    with standing_in() as server:
        server.endless = True
        yield server


def test_at_a_terminal_the_answer_ends_where_it_is_and_that_is_no_failure(endless):
    with at_terminal(*WORDS, OLLAMA_HOST=endless.url) as user:
        user.sees("Good day! on")
        user.types("\x03")
        assert user.leaves() == 0
    assert endless.left.wait(timeout=10)


def test_between_pipes_what_was_said_stays_and_nothing_is_added(endless):
    with subprocess.Popen(
        [sys.executable, "-m", "ollmlx.cli", *WORDS],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OLLAMA_HOST": endless.url},
    ) as running:
        assert running.stdout
        assert running.stdout.read(12) == b"Good day! on"
        running.send_signal(signal.SIGINT)
        rest, errors = running.communicate(timeout=30)
    assert (running.returncode, errors) == (0, b"")
    assert rest.replace(b" on", b"") == b""
    assert endless.left.wait(timeout=10)

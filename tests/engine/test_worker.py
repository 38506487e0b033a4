"""The loop that owns the runtime."""

import subprocess
import sys

import pytest

from ollmlx.engine import jobs
from ollmlx.engine.echo import EchoBackend
from ollmlx.engine.worker import Inbox, _answered, _load, _serve


class _Rested(Exception):
    pass


class _Resting(EchoBackend):
    def rest(self) -> None:
        raise _Rested


class _Outbox:
    def __init__(self) -> None:
        self.sent: list[jobs.Event] = []

    def send(self, events: list[jobs.Event]) -> None:
        self.sent += events

    send_soon = send

    def flush(self) -> None:
        pass


def test_a_model_rests_when_it_has_answered_and_its_last_words_are_sent():
    backend = _Resting("-", jobs.LoadOptions(num_parallel=2), lambda fraction: None)
    outbox, inbox = _Outbox(), Inbox()
    for number in (1, 2):
        inbox.put(jobs.Generate(number, [97] * number, 10, jobs.Sampling()))
    with pytest.raises(_Rested):
        _serve(backend, inbox, outbox)
    finished = [e.id for e in outbox.sent if isinstance(e, jobs.Delta) and e.finish]
    assert sorted(finished) == [1, 2]


def test_a_library_that_chokes_on_a_text_fails_that_question_alone():
    class Choking(EchoBackend):
        def tokenize(self, text: str, special: bool) -> list[int]:
            raise IndexError("out of range")

    backend = Choking("-", jobs.LoadOptions(), lambda fraction: None)
    answer = _answered(backend, jobs.Tokenize(7, ["text"]))
    assert isinstance(answer, jobs.Failed)
    assert (answer.id, answer.status) == (7, 500)
    assert "out of range" in answer.reason


def test_a_load_that_a_library_chokes_on_says_why():
    outbox = _Outbox()
    with pytest.raises(AttributeError):
        _load(jobs.Load("echo", "-", None), outbox)
    assert isinstance(outbox.sent[-1], jobs.Failed)
    assert "unable to load model -: AttributeError" in outbox.sent[-1].reason


def test_a_reader_that_fails_leaves_its_traceback():
    worker = [sys.executable, "-m", "ollmlx.engine.worker"]
    ended = subprocess.run(
        worker, input=jobs.LENGTH.pack(1) + b"?", capture_output=True, timeout=30
    )
    assert b"Traceback" in ended.stderr
    assert b"ValidationError" in ended.stderr

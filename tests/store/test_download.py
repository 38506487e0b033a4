"""A file in parallel ranges, against servers that do all that servers do."""

import hashlib
import json
import random
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path

import pytest

from ollmlx.store.ollama.blobs import CannotStore, NoRoom
from ollmlx.store.transfer import download as module
from ollmlx.store.transfer.download import DigestDiffers, Download, Exhausted
from ollmlx.store.transfer.partial import plan
from ollmlx.store.transfer.transport import HungUp, Refused, Session
from tests.misbehaving import Handler, misbehaving

MIB = 1 << 20
SMALL = random.Random(1).randbytes(3 * MIB + 123)
LARGE = random.Random(2).randbytes(40 * MIB)
"""Three parts."""


class Source:
    def __init__(self, url: str, session: Session, timeout: float = 10) -> None:
        self.url, self.session, self.timeout = url, session, timeout
        self.forgotten = 0

    def open(self, start: int, end: int | None) -> HTTPResponse:
        headers = {} if end is None else {"Range": f"bytes={start}-{end}"}
        return self.session.open("GET", self.url, headers, timeout=self.timeout)

    def forget(self) -> None:
        self.forgotten += 1


@pytest.fixture
def server():
    with misbehaving() as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "blobs" / "sha256-target"


def fetch(server, target, content, timeout=10.0, digest="") -> Download:
    session, name = Session(), server.add_blob(content)
    source = Source(f"{server.url}/{name}", session, timeout)
    return Download(target, digest or name, len(content), source, session, patience=(0.01, 0.02))


def files(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_large_file_comes_in_ranges_and_leaves_nothing_else(server, target):
    download = fetch(server, target, LARGE)
    download.run()
    assert target.read_bytes() == LARGE
    assert files(target) == [target.name]
    assert len(server.asked) == len(plan(len(LARGE))) == 3
    assert download.completed == download.total == len(LARGE)


@pytest.mark.parametrize("content", [SMALL, LARGE, b"", b"x"])
def test_a_server_without_ranges_will_do(server, target, content):
    server.behave = Handler.whole
    fetch(server, target, content).run()
    assert target.read_bytes() == content
    assert files(target) == [target.name]


def test_a_server_that_cuts_every_body_is_taken_up_where_it_cut(server, target):
    server.behave = lambda handler, content: handler.send_range(content, upto=MIB)
    fetch(server, target, LARGE).run()
    assert target.read_bytes() == LARGE
    assert server.sent == len(LARGE)


def test_refusals_that_pass_are_waited_out(server, target):
    answers = iter([(429, {"Retry_After": "0"}), (500, {}), (503, {}), (429, {})])
    lock = threading.Lock()

    def moody(handler: Handler, content: bytes) -> None:
        with lock:
            answer = next(answers, None)
        if answer and not handler.span(content)[0]:
            handler.refuse(answer[0], "later", **answer[1])
        else:
            handler.send_range(content)

    server.behave = moody
    download = fetch(server, target, LARGE)
    download._patience = (0.01,) * 6
    download.run()
    assert target.read_bytes() == LARGE


def test_a_server_that_stays_broken_is_given_up(server, target):
    server.behave = lambda handler, _: handler.refuse(500, "out of order")
    with pytest.raises(Exhausted, match=r"^max retries exceeded: 500: out of order$"):
        fetch(server, target, SMALL).run()
    assert target not in target.parent.iterdir()


def test_a_refusal_for_good_is_not_repeated(server, target):
    server.behave = lambda handler, _: handler.refuse(410, "gone")
    with pytest.raises(Refused, match=r"^410: gone$"):
        fetch(server, target, SMALL).run()
    assert len(server.asked) == 1


def test_redirects_in_circles_end(server, target):
    server.behave = lambda handler, _: handler.refuse(307, Location=handler.path)
    with pytest.raises(Exhausted, match=r"max retries exceeded: Get .*: stopped after 10 redirect"):
        fetch(server, target, SMALL).run()


def test_a_stalled_connection_is_replaced(server, target):
    released = threading.Event()

    def stall_once(handler: Handler, content: bytes) -> None:
        server.behave = Handler.send_range
        start, end = handler.span(content)
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        handler.send_header("Content-Length", str(end - start))
        handler.end_headers()
        handler.wfile.write(content[:1000])
        released.wait(10)
        handler.close_connection = True

    server.behave = stall_once
    fetch(server, target, SMALL, timeout=0.2).run()
    released.set()
    assert target.read_bytes() == SMALL
    assert server.asked[1].startswith("bytes=1000-")


def test_a_range_that_lags_behind_is_asked_for_anew(server, target, monkeypatch):
    # Nobody wants to wait five seconds for it here.
    monkeypatch.setattr(module, "SLOW_AFTER_SECONDS", 0.05)
    content = random.Random(3).randbytes(80 * MIB)
    lagged = threading.Event()

    def lag_once(handler: Handler, content: bytes) -> None:
        start, _ = handler.span(content)
        if start or lagged.is_set():
            handler.send_range(content)
            return
        lagged.set()
        server.seconds_per_mib = 0
        handler.body = lambda part: trickle(handler, part)  # type: ignore[method-assign]
        handler.send_range(content)

    def trickle(handler: Handler, part: bytes) -> None:
        for at in range(0, len(part), 1000):
            try:
                handler.wfile.write(part[at : at + 1000])
            except OSError:
                handler.close_connection = True
                return
            time.sleep(0.02)

    server.behave = lag_once
    began = time.monotonic()
    fetch(server, target, content).run()
    assert target.read_bytes() == content
    assert time.monotonic() - began < 60
    assert len(server.asked) > len(plan(len(content)))


def test_lengths_that_are_lies_are_found_out(server, target):
    server.behave = lambda handler, content: handler.send_range(content, total=len(content) - 1)
    with pytest.raises(Exhausted, match=f"size mismatch, want {len(SMALL)} bytes, got"):
        fetch(server, target, SMALL).run()
    server.behave = lambda handler, content: handler.whole(content + b"more")
    with pytest.raises(Exhausted, match="size mismatch"):
        fetch(server, target, SMALL).run()
    assert target not in target.parent.iterdir()


def test_content_that_is_a_lie_is_not_kept(server, target):
    digest = "sha256:" + "0" * 64
    got = hashlib.sha256(SMALL).hexdigest()
    text = f"digest mismatch, file must be downloaded again: want {digest}, got sha256:{got}"
    with pytest.raises(DigestDiffers, match=f"^{text}$"):
        fetch(server, target, SMALL, digest=digest).run()
    assert files(target) == []


def test_hanging_up_ends_it_at_once_and_the_next_goes_on(server, target):
    server.seconds_per_mib = 0.2
    download = fetch(server, target, SMALL)
    with ThreadPoolExecutor() as threads:
        running = threads.submit(download.run)
        while download.completed < 1.2 * MIB:
            time.sleep(0.005)
        server.seconds_per_mib = 60  # nobody waits for the rest
        download.hang_up()
        with pytest.raises(HungUp):
            running.result(timeout=20)
    assert target not in target.parent.iterdir()
    server.sent, server.seconds_per_mib = 0, 0
    again = fetch(server, target, SMALL)
    again.run()
    assert target.read_bytes() == SMALL
    assert server.sent <= len(SMALL) - MIB


def test_two_at_once_fetch_it_once(server, target):
    server.seconds_per_mib = 0.05
    with ThreadPoolExecutor() as threads:
        for running in [threads.submit(fetch(server, target, LARGE).run) for _ in range(3)]:
            running.result()
    assert target.read_bytes() == LARGE
    assert server.sent == len(LARGE)


def test_what_ollama_began_is_gone_on_with(server, target):
    target.parent.mkdir()
    half = len(SMALL) // 2
    partial = target.with_name(f"{target.name}-partial")
    partial.write_bytes(SMALL[:half] + bytes(len(SMALL) - half))
    record = {"N": 0, "Offset": 0, "Size": len(SMALL), "Completed": half}
    partial.with_name(f"{partial.name}-0").write_text(json.dumps(record))
    fetch(server, target, SMALL).run()
    assert target.read_bytes() == SMALL
    assert server.sent == len(SMALL) - half


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[]",
        '{"N":0,"Offset":0,"Size":99,"Completed":5}',
        '{"N":0,"Offset":1,"Size":3145850,"Completed":0}',
        '{"N":0,"Offset":0,"Size":3145851,"Completed":3145852}',
        '{"N":0,"Offset":0,"Size":3145851,"Completed":-1}',
    ],
)
def test_a_journal_that_makes_no_sense_is_not_believed(server, target, record):
    target.parent.mkdir()
    partial = target.with_name(f"{target.name}-partial")
    partial.write_bytes(bytes(len(SMALL)))
    partial.with_name(f"{partial.name}-0").write_text(record)
    fetch(server, target, SMALL).run()
    assert target.read_bytes() == SMALL


def test_wrong_bytes_of_an_earlier_time_are_found_by_the_hash(server, target):
    target.parent.mkdir()
    partial = target.with_name(f"{target.name}-partial")
    partial.write_bytes(bytes(len(SMALL)))
    record = {"N": 0, "Offset": 0, "Size": len(SMALL), "Completed": 1000}
    partial.with_name(f"{partial.name}-0").write_text(json.dumps(record))
    with pytest.raises(DigestDiffers):
        fetch(server, target, SMALL).run()
    fetch(server, target, SMALL).run()
    assert target.read_bytes() == SMALL


def test_a_link_that_somebody_left_in_the_folder_is_not_written_through(server, target):
    target.parent.mkdir()
    mine = target.parent.parent / "mine"
    mine.write_text("mine")
    target.with_name(f"{target.name}-partial").symlink_to(mine)
    with pytest.raises(CannotStore, match="cannot write"):
        fetch(server, target, SMALL).run()
    assert mine.read_text() == "mine"


def test_a_file_larger_than_the_disk_is_refused_before(server, target):
    download = fetch(server, target, SMALL)
    huge = Download(target, "sha256:0", 1 << 60, download._source, download._session)
    with pytest.raises(NoRoom, match=r"not enough space in .*: 1152921504\.6 GB needed"):
        huge.run()
    assert server.asked == []


SCRIPT = """
import sys; from pathlib import Path; from tests.store.test_download import *
url, digest, size, target = sys.argv[1:]
session = Session()
print("ready", flush=True)
try: Download(Path(target), digest, int(size), Source(url, session), session, (0.01,)).run()
except Exception as error: print(error)
"""


def process(server, target, content, **options) -> subprocess.Popen[str]:
    digest = server.add_blob(content)
    arguments = [f"{server.url}/{digest}", digest, str(len(content)), str(target)]
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def test_a_disk_that_fills_is_named_and_nothing_looks_whole(server, target):
    limit = (MIB, MIB)
    # The nearest to a full disk that needs no disk of its own.
    full = process(
        server,
        target,
        SMALL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    text = full.communicate()[0]
    assert text == f"ready\ncannot write to {target.parent}: File too large\n"
    assert target not in target.parent.iterdir()


def noted(target: Path) -> int:
    """Bytes of which the journals say that they are there."""
    journals = target.parent.glob("*-partial-*")
    return sum(json.loads(journal.read_text() or "{}").get("Completed", 0) for journal in journals)


def test_killed_again_and_again_it_goes_on_where_it_was(server, target):
    server.seconds_per_mib = 0.02
    held = [0]
    while len(held) < 5:
        running = process(server, target, LARGE)
        while noted(target) <= held[-1]:
            time.sleep(0.001)
        running.kill()
        running.communicate()
        held.append(noted(target))
    server.asked.clear()
    fetch(server, target, LARGE).run()
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(LARGE).digest()
    ranges = [asked.removeprefix("bytes=").split("-") for asked in server.asked]
    assert sum(int(end) + 1 - int(start) for start, end in ranges) == len(LARGE) - held[-1]

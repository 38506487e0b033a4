"""Uploads to a registry that has bad days."""

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from ollmlx import names
from ollmlx.store.ollama.blobs import Blobs
from ollmlx.store.ollama.layers import PREFIX, Layer
from ollmlx.store.ollama.shelf import LayerGone
from ollmlx.store.transfer.download import Exhausted
from ollmlx.store.transfer.registry import Registry
from ollmlx.store.transfer.transport import HungUp, Refused, Session
from ollmlx.store.transfer.upload import Upload
from tests.misbehaving import misbehaving


@pytest.fixture
def server():
    with misbehaving() as running:
        running.storage = f"{running.url}/storage"
        yield running


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def upload(server, blobs: Blobs, patience: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Upload:
    blob = blobs.add(b"weights")
    session = Session()
    registry = Registry(names.parse(f"{server.host}/me/m:1"), session, insecure=True)
    layer = Layer(f"{PREFIX}model", blob.digest, blob.size)
    return Upload(blobs.path(blob.digest), layer, registry, session, patience)


def asked(server) -> list[str]:
    return [method for method, *_ in server.received]


def test_refusals_that_pass_are_waited_out_and_the_whole_is_sent_again(server, blobs):
    server.refusals = [500, 429, 503]
    work = upload(server, blobs)
    work.run()
    assert work.completed == work.total == 7
    assert asked(server) == ["POST"] * 4 + ["PATCH", "PUT", "PUT"]
    assert server.received[5][3] == b"weights"


def test_a_registry_that_stays_broken_is_given_up(server, blobs):
    server.refusals = [502] * 9
    with pytest.raises(Exhausted, match="max retries exceeded: 502: not now"):
        upload(server, blobs).run()
    assert asked(server) == ["POST"] * 4


def test_a_refusal_for_good_is_not_repeated(server, blobs):
    server.refusals = [400]
    with pytest.raises(Refused, match="400: not now"):
        upload(server, blobs).run()
    assert asked(server) == ["POST"]


def test_a_blob_that_was_removed_meanwhile_is_named(server, blobs):
    work = upload(server, blobs)
    (path,) = blobs.folder.iterdir()
    path.unlink()
    with pytest.raises(LayerGone, match=f"open {path}: No such file"):
        work.run()


def test_hanging_up_ends_the_wait_for_another_attempt(server, blobs):
    server.refusals = [503] * 9
    work = upload(server, blobs, (3600.0,))
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(work.run)
        while not server.received and not running.done():
            wait([running], timeout=0.01)
        work.hang_up()
        assert isinstance(running.exception(timeout=30), HungUp)

"""Manifests and the blobs they need, changed together."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ollmlx import names
from ollmlx.store.ollama.layers import CONFIG_TYPE, PREFIX, Layer, Manifest
from ollmlx.store.ollama.manifests import BadManifest
from ollmlx.store.ollama.shelf import LayerGone, Shelf, parse

MODEL = names.parse("tiny:1b")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def layer(shelf: Shelf, content: bytes, kind: str = "model", source: str = "") -> Layer:
    blob = shelf.blobs.add(content)
    return Layer(PREFIX + kind, blob.digest, blob.size, source)


def manifest(shelf: Shelf, *contents: bytes) -> Manifest:
    config = shelf.blobs.add(b"{}")
    layers = [layer(shelf, content) for content in contents]
    return Manifest(config=Layer(CONFIG_TYPE, config.digest, config.size), layers=layers)


def test_what_is_written_is_read_back(shelf):
    made = manifest(shelf, b"weights")
    shelf.write(MODEL, made)
    assert shelf.read(MODEL) == (made, made.encode())
    assert shelf.path(MODEL).stat().st_mode & 0o777 == 0o644


def test_the_bytes_of_a_registry_are_kept(shelf):
    made = manifest(shelf, b"weights")
    data = b" " + made.encode()
    shelf.write(MODEL, made, data)
    assert shelf.read(MODEL) == (made, data)


def test_no_manifest_is_written_without_its_blobs(shelf):
    made = manifest(shelf, b"weights")
    assert made.layers
    shelf.blobs.remove(made.layers[0].digest)
    with pytest.raises(LayerGone):
        shelf.write(MODEL, made)
    assert shelf.read(MODEL) is None


def test_deleting_takes_empty_folders_and_leaves_shared_blobs(shelf, tmp_path):
    shelf.write(MODEL, manifest(shelf, b"shared", b"own"))
    other = names.parse("example.org/ns/other:1")
    shelf.write(other, manifest(shelf, b"shared"))
    deleted = shelf.delete(MODEL)
    assert deleted
    assert deleted.layers
    own = deleted.layers[1].digest
    assert shelf.unused(deleted) == shelf.remove_unused(deleted) == [own]
    assert not shelf.blobs.has(own)
    assert shelf.blobs.has(deleted.layers[0].digest)
    assert [p.name for p in (tmp_path / "manifests").iterdir()] == ["example.org"]
    assert shelf.delete(MODEL) is None


def test_names_find_the_installed_spelling(shelf):
    shelf.write(names.parse("Tiny:1B"), manifest(shelf, b"weights"))
    assert shelf.spelling(MODEL).display == "Tiny:1B"
    assert shelf.spelling(names.parse("other")).display == "other:latest"


def test_nothing_is_removed_while_a_manifest_is_damaged(shelf):
    made = manifest(shelf, b"weights")
    damaged = shelf.path(MODEL)
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    for removing in (lambda: shelf.remove_unused(made), lambda: shelf.prune(time.time() + 9999)):
        with pytest.raises(BadManifest, match="tiny:1b is damaged"):
            removing()
    assert all(shelf.blobs.has(layer.digest) for layer in made.blobs)
    assert shelf.delete(MODEL) is None
    assert not damaged.exists()


def test_pruning_keeps_what_is_installed_and_what_is_young(shelf, tmp_path):
    made = manifest(shelf, b"weights")
    shelf.write(MODEL, made)
    lost = shelf.blobs.add(b"lost")
    (tmp_path / "manifests/a/b/c").mkdir(parents=True)
    assert shelf.prune() == []
    assert shelf.prune(time.time() + 3700) == [lost.digest.replace(":", "-")]
    assert [p.name for p in (tmp_path / "manifests").iterdir()] == [names.HOST]
    assert shelf.read(MODEL)


def test_blobs_of_old_ollamas_get_their_new_names(shelf):
    blob = shelf.blobs.add(b"old")
    path = shelf.blobs.path(blob.digest)
    path.rename(path.with_name(blob.digest))
    shelf.rename_old_blobs()
    assert shelf.blobs.has(blob.digest)


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "", "sha256-" + "a" * 64])
def test_a_manifest_cannot_name_files_outside(digest):
    made = Manifest(config=Layer("x", digest, 1))
    with pytest.raises(BadManifest, match="is not a digest"):
        parse(made.encode(), Path("m"))


def test_another_process_waits_for_the_lock(shelf, tmp_path):
    code = (
        "import sys; from ollmlx.store.ollama.shelf import *; from ollmlx import names\n"
        "print('ready', flush=True)\n"
        f"Shelf(Path({str(tmp_path)!r})).delete(names.parse('tiny:1b')); print('deleted')"
    )
    shelf.write(MODEL, manifest(shelf, b"weights"))
    with shelf._changing():
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert other.stdout
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.2)
        assert shelf.read(MODEL)
    assert other.communicate()[0] == "deleted\n"
    assert shelf.read(MODEL) is None

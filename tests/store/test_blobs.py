"""Content by digest: whole or not at all, and never removed too early."""

import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ollmlx.store.ollama.blobs import (
    GRACE_SECONDS,
    PARTIAL_SECONDS,
    BadDigest,
    Blobs,
    CannotStore,
    canonical,
)

HELLO = "sha256:" + hashlib.sha256(b"hello").hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def files(blobs: Blobs) -> list[str]:
    return sorted(path.name for path in blobs.folder.iterdir())


def test_a_blob_takes_the_name_of_its_content(blobs):
    blob = blobs.add(b"hello")
    assert (blob.digest, blob.size, blob.new) == (HELLO, 5, True)
    assert blobs.path(HELLO).read_bytes() == b"hello"
    assert files(blobs) == [HELLO.replace(":", "-")]
    assert blobs.path(HELLO).stat().st_mode & 0o777 == 0o644


def test_the_same_content_again_begins_its_grace_anew(blobs):
    blobs.add(b"hello")
    os.utime(blobs.path(HELLO), (1, 1))
    assert not blobs.add(b"hello").new
    assert blobs.path(HELLO).stat().st_mtime > 1
    assert files(blobs) == [HELLO.replace(":", "-")]


def test_a_truncated_blob_is_replaced(blobs):
    blobs.add(b"hello")
    blobs.path(HELLO).write_bytes(b"hel")
    assert blobs.add(b"hello").new
    assert blobs.path(HELLO).read_bytes() == b"hello"


def test_a_writer_that_fails_leaves_nothing(blobs):
    def fails():
        with blobs.writing() as writer:
            writer.write(b"half of it")
            raise EOFError

    with pytest.raises(EOFError):
        fails()
    assert files(blobs) == []


def test_files_are_copied_in_or_moved_in(blobs, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"hello")
    assert blobs.add_file(file).digest == HELLO
    blobs.remove(HELLO)
    assert file.exists()
    assert blobs.adopt(file) == blobs.add(b"hello").__class__(HELLO, 5, True)
    assert not file.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "g" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "md5:" + "a" * 64,
        "sha256:../" + "a" * 61,
        f"{HELLO}\n",
        f"{HELLO}\0",
        "sha256:" + "\uff41" * 64,
    ],
)
def test_what_is_no_digest_names_no_file(blobs, text):
    with pytest.raises(BadDigest, match=r"^invalid digest format$"):
        blobs.path(text)


def test_both_spellings_and_letter_cases_are_one_digest():
    assert canonical(HELLO.upper().replace("SHA256:", "sha256-")) == HELLO


def test_what_nobody_names_goes_after_an_hour_and_a_partial_after_a_week(blobs):
    kept, lost = blobs.add(b"hello"), blobs.add(b"lost")
    (blobs.folder / "sha256-h_x8t3").write_bytes(b"a writer that was killed")
    partial = blobs.folder / f"sha256-{'0' * 64}-partial"
    partial.write_bytes(b"")
    now = partial.stat().st_mtime
    assert blobs.prune({kept.digest}, now + GRACE_SECONDS - 60) == []
    assert blobs.prune({kept.digest}, now + GRACE_SECONDS + 60) == [
        lost.digest.replace(":", "-"),
        "sha256-h_x8t3",
    ]
    assert blobs.prune({kept.digest}, now + PARTIAL_SECONDS - 60) == []
    assert blobs.prune({kept.digest}, now + PARTIAL_SECONDS + 60) == [partial.name]
    assert blobs.has(kept.digest)


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path):
    code = (
        "import sys; from pathlib import Path; from ollmlx.store.ollama.blobs import *\n"
        "try: Blobs(Path(sys.argv[1])).add(bytes(1 << 20))\n"
        "except CannotStore as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        # The nearest to a full disk that needs no disk of its own.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"cannot write to {tmp_path}: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotStore, match=r"cannot write to .*file/blobs: Not a directory"):
        Blobs(tmp_path / "file" / "blobs").add(b"hello")

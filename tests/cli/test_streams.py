"""What the command reads and writes where bytes are no text, and where nobody listens."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.stand_in import StandIn, standing_in

CAFE = "caf\N{REPLACEMENT CHARACTER}"


@pytest.fixture
def far_end() -> Iterator[StandIn]:
    with standing_in() as server:
        server.words = ["é 你"]
        yield server


def ran(far_end: StandIn, script: str, piped: bytes = b"") -> tuple[int, bytes, bytes]:
    """Status, stdout and stderr of a shell in which `$o` is the command."""
    done = subprocess.run(
        ["sh", "-c", f'o="{sys.executable} -m ollmlx.cli"; {script}'],
        input=piped,
        capture_output=True,
        timeout=60,
        env={**os.environ, "OLLAMA_HOST": far_end.url},
    )
    return done.returncode, done.stdout, done.stderr


def test_bytes_that_are_no_text_are_replaced_as_go_does(far_end):
    ran(far_end, "$o run m \"$(printf 'caf\\351')\"", b"caf\xe9")
    assert far_end.asked[-1]["prompt"] == f"{CAFE} {CAFE}"


def test_a_locale_that_is_not_utf_8_changes_nothing(far_end):
    script = "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $o run m 'é 你'"
    assert ran(far_end, script) == (0, "é 你\n\n".encode(), b"")
    assert far_end.asked[-1]["prompt"] == "é 你"


def test_a_full_disk_behind_stdout_is_one_line_and_the_status_1(far_end):
    full = ran(far_end, "$o list > /dev/full")
    assert full == (1, b"", b"Error: no space left on device\n")


def test_who_has_closed_what_others_have_open_is_served_too(far_end):
    assert ran(far_end, "$o run m hi <&-") == (0, "é 你\n\n".encode(), b"")
    assert ran(far_end, "$o run m hi >&-") == (0, b"", b"")


def test_a_folder_that_is_gone_is_one_line(far_end, tmp_path):
    folder = tmp_path / "x"
    script = f"mkdir {folder}; cd {folder}; rmdir {folder}; $o run ./m.gguf hi"
    assert ran(far_end, script) == (1, b"", b"Error: no such file or directory\n")

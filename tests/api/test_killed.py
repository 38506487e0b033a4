import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toy import ToyModels

TIMES = os.environ.get("OLLMLX_TEST_KILLS", "")
"""How often each is killed; a few times without it."""


@pytest.mark.parametrize(
    ("kind", "times"), [("words", 50), ("gguf", 4), ("safetensors", 1), ("convert", 4)]
)
def test_whenever_a_change_is_killed_every_model_that_is_there_is_whole(
    toy: ToyModels, tmp_path: Path, kind: str, times: int
):
    place = (str(tmp_path / "models"), str(toy.gguf), str(toy.mlx))
    done = subprocess.run(
        [sys.executable, "-m", "tests.api.killing", kind, TIMES or str(times), *place],
        capture_output=True,
        text=True,
        check=True,
        timeout=3600 if TIMES else 120,
    )
    assert done.stdout == ""

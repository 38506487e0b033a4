import subprocess
import sys
from pathlib import Path

from tests.toy import ToyModels


def test_whenever_a_change_is_killed_every_model_that_is_there_is_whole(
    toy: ToyModels, tmp_path: Path
):
    arguments = (str(tmp_path / "models"), str(toy.gguf), str(toy.mlx), "50")
    done = subprocess.run(
        [sys.executable, "-m", "tests.api.killing", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == ""

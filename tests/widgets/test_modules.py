"""The JavaScript that travels to the browser: whole, self-contained, from nowhere else."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import ollmlx
from ollmlx.widgets.modules import FRONT

WIDGETS = ("Chat", "ModelManager", "Telemetry", "TokenView")


@pytest.mark.parametrize("name", WIDGETS)
def test_a_widget_is_one_small_module_that_fetches_nothing(name: str):
    script = getattr(ollmlx, name)._esm
    assert not re.search(r"^import |^export (?!default)", script, re.MULTILINE)
    assert len(re.findall(r"^export default", script, re.MULTILINE)) == 1
    assert not re.search(r"\bfetch\(|innerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    assert "://" not in re.sub(r"https\?:|http://www\.w3\.org|http://", "", script)
    assert len(script) < 100_000


@pytest.mark.parametrize("name", WIDGETS)
def test_no_two_modules_use_the_same_name(name: str):
    script = getattr(ollmlx, name)._esm
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script, re.MULTILINE)
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", WIDGETS)
def test_the_module_is_valid(name: str, tmp_path: Path):
    if not (node := shutil.which("node")):
        pytest.skip("node is not installed")
    file = tmp_path / "widget.mjs"
    file.write_text(getattr(ollmlx, name)._esm)
    subprocess.run([node, "--check", str(file)], check=True)


def test_every_file_of_the_front_opens_with_what_it_is():
    for file in FRONT.glob("*.js"):
        assert file.read_text().startswith("/**"), file.name
        assert len(file.read_text().splitlines()) <= 400, file.name

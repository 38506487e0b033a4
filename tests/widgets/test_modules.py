"""The JavaScript that travels to the browser: whole, self-contained, from nowhere else."""

import re

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


def test_every_file_of_the_front_opens_with_what_it_is():
    for file in FRONT.glob("*.js"):
        assert file.read_text().startswith("/**"), file.name
        assert len(file.read_text().splitlines()) <= 400, file.name

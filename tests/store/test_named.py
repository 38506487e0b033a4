import json
from pathlib import Path

import pytest

from ollmlx.prompt.conversation import Conversation
from ollmlx.prompt.render import GoTemplate
from ollmlx.store.ollama import named
from ollmlx.wire.native import Message
from tests.store.shelf import CHATML

FOLDER = Path(named.__file__).with_name("templates")
ORIGINALS = json.loads((FOLDER / "index.json").read_bytes())
TALK = (Message("system", "Be brief."), Message("user", "Hi"))


@pytest.mark.parametrize("entry", ORIGINALS, ids=lambda entry: entry["name"])
def test_a_template_that_was_edited_a_little_is_known(entry) -> None:
    found = named.meant(entry["template"].replace("message", "msg", 3) + "{# comment #}")
    assert found is not None
    assert found.name == entry["name"]
    text = GoTemplate(found.template.decode()).render(Conversation(TALK))
    assert "Be brief." in text
    assert "Hi" in text


def test_the_nearest_template_gives_text_and_stops() -> None:
    found = named.meant(CHATML)
    assert found is not None
    assert (found.name, found.stops) == ("chatml", ("<|im_start|>", "<|im_end|>"))
    assert found.template.startswith(b"{{- range .Messages }}<|im_start|>")


@pytest.mark.parametrize("template", ["", "x" * 400, CHATML + "x" * 300, "x" * 1_000_000])
def test_what_is_far_from_all_of_them_is_left_alone(template: str) -> None:
    assert named.meant(template) is None


@pytest.mark.parametrize(
    ("one", "other", "edits"),
    [
        ("", "abc", 3),
        ("kitten", "sitting", 3),
        ("abc", "", 3),
        ("ab", "ba", 2),
        ("\U0001f600", "é", 1),
    ],
)
def test_edits_are_counted_in_characters(one: str, other: str, edits: int) -> None:
    assert named.distance(one, other) == edits

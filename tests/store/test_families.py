import pytest

from ollmlx.store.ollama.families import STOPS, stop_texts
from tests.store.shelf import CHATML


def test_a_family_is_known_by_its_markers() -> None:
    assert stop_texts(CHATML) == ["<|im_start|>", "<|im_end|>"]
    assert stop_texts("{{ messages }}") == []


@pytest.mark.parametrize("markers", STOPS)
def test_a_family_is_not_taken_for_one_before_it(markers) -> None:
    assert stop_texts(" ".join(markers)) == list(STOPS[markers])


def test_stops_that_ordinary_answers_may_contain_are_not_guessed() -> None:
    assert stop_texts("{% for m in messages %}USER: {{ m.content }} ASSISTANT:{% endfor %}") == []

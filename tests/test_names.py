import pytest

from ollmlx import names
from ollmlx.errors import InvalidName


@pytest.mark.parametrize(
    ("text", "full", "display"),
    [
        ("mistral", "registry.ollama.ai/library/mistral:latest", "mistral:latest"),
        ("mistral:7b", "registry.ollama.ai/library/mistral:7b", "mistral:7b"),
        ("user/m", "registry.ollama.ai/user/m:latest", "user/m:latest"),
        ("hf.co/b/X-GGUF:Q4_K_M", "hf.co/b/X-GGUF:Q4_K_M", "hf.co/b/X-GGUF:Q4_K_M"),
        ("localhost:5000/ns/m", "localhost:5000/ns/m:latest", "localhost:5000/ns/m:latest"),
        ("http://host:5000/ns/m:t", "host:5000/ns/m:t", "host:5000/ns/m:t"),
    ],
)
def test_missing_parts_of_a_name_get_defaults(text: str, full: str, display: str) -> None:
    name = names.parse(text)
    assert (name.full, name.display) == (full, display)


@pytest.mark.parametrize(
    "text", ["", ".x", "-x", "m:", ":t", "/m", "ns/", "a b", "ns.dot/m", "a/b/c/d:t", "m@sha256"]
)
def test_a_name_that_breaks_the_grammar_is_invalid(text: str) -> None:
    with pytest.raises(InvalidName):
        names.parse(text)


def test_the_home_of_nobody_is_a_path_like_any_other() -> None:
    assert str(names.as_path("~no-such-user-here/m")) == "~no-such-user-here/m"

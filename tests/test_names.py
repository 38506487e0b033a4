import os
import random
from pathlib import Path

import pytest

from ollmlx import names
from ollmlx.errors import BadRequest, InvalidName


@pytest.mark.parametrize(
    ("text", "full", "display"),
    [
        ("mistral", "registry.ollama.ai/library/mistral:latest", "mistral:latest"),
        ("mistral:7b", "registry.ollama.ai/library/mistral:7b", "mistral:7b"),
        ("user/m", "registry.ollama.ai/user/m:latest", "user/m:latest"),
        ("hf.co/b/X-GGUF:Q4_K_M", "hf.co/b/X-GGUF:Q4_K_M", "hf.co/b/X-GGUF:Q4_K_M"),
        ("localhost:5000/ns/m", "localhost:5000/ns/m:latest", "localhost:5000/ns/m:latest"),
        ("http://host:5000/ns/m:t", "host:5000/ns/m:t", "host:5000/ns/m:t"),
        ("ftp://host/ns/m", "host/ns/m:latest", "host/ns/m:latest"),
    ],
)
def test_missing_parts_of_a_name_get_defaults(text: str, full: str, display: str) -> None:
    name = names.parse(text)
    assert (name.full, name.display) == (full, display)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".x",
        "-x",
        "m:",
        ":t",
        "/m",
        "ns/",
        "a b",
        "ns.dot/m",
        "a/b/c/d:t",
        "m@sha256",
        "http://ns/m",
    ],
)
def test_a_name_that_breaks_the_grammar_is_invalid(text: str) -> None:
    with pytest.raises(InvalidName):
        names.parse(text)


def test_no_name_leaves_the_folder_it_is_looked_for_in() -> None:
    """Of many texts out of what names and paths are made of, and of what only looks like it."""
    chance, pieces = random.Random(7), ["..", ".", "/", "\\", ":", "a", "B_", "-", "\0", "%2e", "~"]
    pieces += ["\u2024", "\uff0e", "\u2215", "K\u212a", "\n", " ", "http://", "sha256", "\udcff"]
    root, valid = Path("/store"), 0
    for _ in range(20_000):
        try:
            name = names.parse("".join(chance.choices(pieces, k=chance.randrange(1, 9))))
        except InvalidName:
            continue
        valid += 1
        inside = Path(os.path.normpath(root / name.path))
        assert inside == root / name.path
        assert len(inside.relative_to(root).parts) == 4
        assert str(name.path).isascii()
        assert names.parse(name.full).matches(name)
    assert valid > 500


def test_the_home_of_nobody_is_a_path_like_any_other() -> None:
    assert str(names.as_path("~no-such-user-here/m")) == "~no-such-user-here/m"


def test_a_server_is_told_where_a_path_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert names.from_here("./m.gguf") == str(tmp_path / "m.gguf")
    assert names.from_here("llama3.2:1b") == "llama3.2:1b"


@pytest.mark.parametrize(
    ("sent", "there"),
    [
        ("x:cloud", "x"),
        ("x:20b:CLOUD", "x:20b"),
        ("x:20b-cloud", "x:20b"),
        ("x", ""),
        ("x:20b", ""),
        (":cloud", ""),
        ("host:1/x-cloud", ""),
        (" x: Cloud ", "x"),
        ("x:local", ""),
    ],
)
def test_a_suffix_means_the_cloud(sent: str, there: str) -> None:
    assert names.of_cloud(sent) == there


@pytest.mark.parametrize(
    ("sent", "there"),
    [
        ("x:local", "x"),
        (" x ", "x"),
        ("x:20b:LOCAL", "x:20b"),
        ("x:cloud", "x:cloud"),
    ],
)
def test_an_installed_model_is_named_without_its_source(sent: str, there: str) -> None:
    assert names.installed(sent) == there


@pytest.mark.parametrize("sent", ["x:cloud:local", "x:local:local", "x:20b-cloud:local"])
def test_two_sources_are_one_too_many(sent: str) -> None:
    for read in (names.installed, names.of_cloud, names.in_registry):
        with pytest.raises(BadRequest, match=f'not both: "{sent}"'):
            read(sent)


@pytest.mark.parametrize(
    ("sent", "there"),
    [("x", "x"), ("x:cloud", "x:cloud"), ("x:20b:cloud", "x:20b-cloud"), ("x:local", "x")],
)
def test_a_registry_has_the_clouds_models_under_a_tag(sent: str, there: str) -> None:
    assert names.in_registry(sent) == there


def test_an_invalid_name_tells_what_it_would_be_in_full() -> None:
    with pytest.raises(InvalidName) as refusal:
        names.parse("ns/:")
    assert refusal.value.name == "registry.ollama.ai/ns/!MISSING!:!MISSING!"

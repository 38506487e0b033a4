"""OLLAMA_* and OLLMLX_* in the environment."""

from pathlib import Path

import pytest

from ollmlx.errors import BadRequest
from ollmlx.settings import FOREVER, Settings, from_environment, parse_duration, parse_host, remark


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("", ("http", "127.0.0.1", 11434, "")),
        ("1.2.3.4", ("http", "1.2.3.4", 11434, "")),
        ("1.2.3.4:1234", ("http", "1.2.3.4", 1234, "")),
        (":1234", ("http", "", 1234, "")),
        (":56789/", ("http", "", 56789, "")),
        ("https://1.2.3.4", ("https", "1.2.3.4", 443, "")),
        ("https://1.2.3.4:1234", ("https", "1.2.3.4", 1234, "")),
        ("http://example.com", ("http", "example.com", 80, "")),
        ("http://h:8888/ollama/", ("http", "h", 8888, "/ollama")),
        ("[::1]", ("http", "::1", 11434, "")),
        ("::1", ("http", "::1", 11434, "")),
        ("http://x:secret@[::1]:8888/ollama", ("http", "::1", 8888, "/ollama")),
        (" \"'1.2.3.4'\" ", ("http", "1.2.3.4", 11434, "")),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(text, parsed):
    assert parse_host(text) == parsed


def test_an_empty_environment_gives_the_defaults():
    settings = from_environment({})
    assert settings == Settings(models=Path("~/.ollama/models").expanduser())


def test_quotes_and_blanks_around_values_are_not_part_of_them():
    settings = from_environment({"OLLAMA_HOST": " \"'1.2.3.4'\" ", "OLLAMA_NUM_PARALLEL": " 4 "})
    assert (settings.host, settings.num_parallel) == ("1.2.3.4", 4)


@pytest.mark.parametrize(
    ("value", "seconds"), [("5m", 300), ("90", 90), ("-1", FOREVER), ("0", 0), ("-1m", FOREVER)]
)
def test_keep_alive_is_seconds_or_a_duration(value, seconds):
    assert from_environment({"OLLAMA_KEEP_ALIVE": value}).keep_alive == seconds


@pytest.mark.parametrize(
    "wrong",
    [
        {"OLLAMA_KEEP_ALIVE": "soon"},
        {"OLLAMA_NUM_PARALLEL": "many"},
        {"OLLAMA_MAX_QUEUE": "-3"},
        {"OLLAMA_KV_CACHE_TYPE": "q3"},
        {"OLLAMA_HOST": "example.com:66000"},
        {"OLLAMA_HOST": "1.2.3.4:-1"},
        {"OLLAMA_HOST": "[::1"},
        {"OLLAMA_MODELS": "~nobody-of-that-name/models"},
    ],
)
def test_a_bad_value_is_an_error_that_names_the_variable(wrong):
    (name,) = wrong
    with pytest.raises(BadRequest, match=name):
        from_environment(wrong)


@pytest.mark.parametrize("text", ["", "-", ".", "1x", "1", "x", "1h2"])
def test_a_bad_duration_is_refused(text):
    with pytest.raises(BadRequest, match="time: "):
        parse_duration(text)


def test_settings_of_ollama_that_mean_nothing_here_are_named():
    set_here = {"OLLAMA_VULKAN": "1", "OLLAMA_GPU_OVERHEAD": "1073741824", "OLLAMA_DEBUG": "1"}
    assert remark(set_here).endswith(": OLLAMA_GPU_OVERHEAD, OLLAMA_VULKAN")
    assert remark({"OLLAMA_VULKAN": ""}) == ""

"""Capabilities, stop texts, sizes and Go's spelling of values."""

from typing import Any

import pytest

from ollmlx.store import capabilities, golang
from ollmlx.store.details import parameter_size
from ollmlx.store.ollama.families import STOPS, stop_texts

THINKING = (
    "{{ range $i, $m := .Messages }}{{ if and $.IsThinkSet .Thinking }}\n"
    "<think>{{ .Thinking }}</think>\n{{ end }}{{ .Content }}{{ end }}"
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (7, "7"),
        (999, "999"),
        (22_400, "22K"),
        (134_515_008, "134.52M"),
        (22_566_912, "22.57M"),
        (135_000_000, "135M"),
        (8_030_261_248, "8.0B"),
        (7_000_000_000, "7B"),
        (671_026_419_200, "671.0B"),
    ],
)
def test_parameter_counts_are_worded_as_ollama_words_them(count: int, text: str) -> None:
    assert parameter_size(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<|eot_id|>", '"<|eot_id|>"'),
        ('a"b\\\n\t\x01é\u200b😀', '"a\\"b\\\\\\n\\t\\x01é\\u200b😀"'),
        (True, "true"),
        (4096, "4096"),
        (0.8, "0.8"),
        (-1, "-1"),
        (0, "0"),
        (1048576, "1.048576e+06"),
        (1e-05, "1e-05"),
        (10**400, "+Inf"),
        (None, "<nil>"),
    ],
)
def test_values_are_spelled_as_go_spells_them(value: Any, text: str) -> None:
    assert golang.quoted(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1234567, "1234567"), (4096.0, "4096"), (True, "true"), ("a b", "a b")]
)
def test_a_modelfile_can_read_back_what_is_written_in_it(value: Any, text: str) -> None:
    assert golang.plain(value) == text


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{{ .System }}{{ .Prompt }}", []),
        ("{{ if .Suffix }}<PRE>{{ .Suffix }}{{ end }}", ["insert"]),
        ("{{- range $.Tools }}{{ . }}{{ end }}", ["tools"]),
        ("{{/* .Tools */}} the word .Suffix alone", []),
        (THINKING, ["thinking"]),
        ("{{ range .Messages }}{{ .Thinking }}{{ end }}", []),
        pytest.param("{" * 999_999, [], id="braces"),
    ],
)
def test_a_go_template_tells_what_it_can_do(template: str, found: list[str]) -> None:
    assert list(capabilities.of_go_template(template)) == found


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{{ messages }}", []),
        ("{% if tools %}", ["tools"]),
        ("<think>{{ x }}</think>", ["thinking"]),
        ("{{ content.split('</think>')[-1] }}", ["thinking"]),
        ("{{ content.split('</think>') }}{{ reasoning_content }}", []),
    ],
)
def test_a_jinja_template_tells_what_it_can_do(template: str, found: list[str]) -> None:
    assert list(capabilities.of_jinja(template)) == found


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("[THINK]{{ x }}[/THINK] {{ tools }}", ["tools", "thinking"]),
        ("<|channel|>analysis<|message|>{{ x }}<|start|>", ["thinking"]),
        ("<think>{{ x }}</think>", ["thinking"]),
        ("[THINK] alone", []),
    ],
)
def test_a_folders_template_may_mark_thoughts_otherwise(template: str, found: list[str]) -> None:
    assert list(capabilities.of_folder_jinja(template)) == found


def test_the_harmony_family_thinks_and_a_parser_brings_its_own() -> None:
    assert set(capabilities.of_parser("", "gptoss")) == {"thinking"}
    assert set(capabilities.of_parser("qwen3-thinking", "qwen3")) == {"tools", "thinking"}


@pytest.mark.parametrize(
    ("template", "stops"),
    [
        ("<|im_start|>user<|im_end|>", ["<|im_start|>", "<|im_end|>"]),
        (
            "<|start_header_id|>user<|end_header_id|><|eot_id|>",
            ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        ),
        ("<start_of_turn>user<end_of_turn>", ["<start_of_turn>", "<end_of_turn>"]),
        ("<start_of_image><start_of_turn>user<end_of_turn>", ["<end_of_turn>"]),
        ("<|user|>\n<|end|>", ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]),
        ("[INST] x [/INST]", ["[INST]", "[/INST]"]),
        ("<|start|>assistant<|channel|><|end|>", []),
        ("{% for m in messages %}USER: {{ m.content }} ASSISTANT:{% endfor %}", []),
        ("", []),
    ],
)
def test_a_known_family_of_templates_brings_its_stops(template: str, stops: list[str]) -> None:
    assert stop_texts(template) == stops


@pytest.mark.parametrize("markers", STOPS)
def test_a_family_is_not_taken_for_one_before_it(markers) -> None:
    assert stop_texts(" ".join(markers)) == list(STOPS[markers])

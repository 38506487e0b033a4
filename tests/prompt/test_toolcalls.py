"""Tool calls in every syntax, wherever the text is cut."""

import time
from typing import Any

import pytest

from ollmlx.errors import OllmlxError
from ollmlx.prompt import toolcalls
from tests.prompt.pieces import cuts

BAR = "\uff5c"


def tool(name: str, **types: Any) -> dict[str, Any]:
    properties = {key: {"type": kind} for key, kind in types.items()}
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [
    tool("get_weather", city="string", days="integer", hourly="boolean", at=["number", "string"]),
    tool("get_weather_map", areas="array", options="object"),
    tool("f"),
]
Read = tuple[str, list[tuple[str, dict[str, Any]]]]


def read(pieces: list[str], template: str, tag: str = "") -> Read:
    parser = toolcalls.find(template, tag, TOOLS)
    parts = [parser.push(piece) for piece in pieces] + [parser.finish()]
    calls = [(call.name, call.arguments) for part in parts for call in part[1]]
    return "".join(part[0] for part in parts), calls


PARIS = ("get_weather", {"city": "Paris"})
ROME = ("get_weather", {"city": "Rome"})

BUILT_IN = {
    "hermes": (
        "<tool_call>{{ x }}</tool_call>",
        'Look: \n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n'
        '</tool_call>\n<tool_call>{"name": "get_weather", "arguments":'
        ' "{\\"city\\": \\"Rome\\"}"}</tool_call>\n done',
        ("Look:done", [PARIS, ROME]),
    ),
    "qwen3-coder": (
        "<tool_call>\n<function=name>",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
        "<parameter=days>\n3\n</parameter>\n<parameter=hourly>TRUE</parameter>\n"
        "<parameter=at>\n2.50\n</parameter>\n<parameter=new>null</parameter></function>\n</tool_call>",
        (
            "",
            [
                (
                    "get_weather",
                    {"city": "Paris", "days": 3, "hourly": True, "at": 2.5, "new": None},
                )
            ],
        ),
    ),
    "glm": (
        "<tool_call>name<arg_key>",
        "Yes.<tool_call>get_weather_map\n<arg_key>areas</arg_key>\n<arg_value>[1, 2]</arg_value>\n"
        '<arg_key>options</arg_key><arg_value>{"a": "b"}</arg_value></tool_call>',
        ("Yes.", [("get_weather_map", {"areas": [1, 2], "options": {"a": "b"}})]),
    ),
    "mistral list": (
        "[TOOL_CALLS]",
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "123456789"},'
        ' {"name": "get_weather", "arguments": {"city": "Rome"}}]',
        ("", [PARIS, ROME]),
    ),
    "mistral named": (
        "[TOOL_CALLS]",
        'So: [TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]get_weather[CALL_ID]abc'
        '[ARGS]{"city": "Rome"}',
        ("So:", [PARIS, ROME]),
    ),
    "deepseek v3.1": (
        f"<{BAR}tool▁calls▁begin{BAR}>",
        f"<{BAR}tool▁calls▁begin{BAR}><{BAR}tool▁call▁begin{BAR}>get_weather<{BAR}tool▁sep{BAR}>"
        f'{{"city": "Paris"}}<{BAR}tool▁call▁end{BAR}><{BAR}tool▁calls▁end{BAR}>',
        ("", [PARIS]),
    ),
    "deepseek r1": (
        f"<{BAR}tool▁calls▁begin{BAR}>",
        f"<{BAR}tool▁calls▁begin{BAR}><{BAR}tool▁call▁begin{BAR}>function<{BAR}tool▁sep{BAR}>"
        f'get_weather\n```json\n{{"city": "Paris"}}\n```<{BAR}tool▁call▁end{BAR}>'
        f"<{BAR}tool▁calls▁end{BAR}>",
        ("", [PARIS]),
    ),
    "lfm2": (
        "<|tool_call_start|>",
        '<|tool_call_start|>[get_weather(city="Paris"), f(a=[1, {"b": None}], c=true, d=-1)]'
        "<|tool_call_end|>ok",
        ("ok", [PARIS, ("f", {"a": [1, {"b": None}], "c": True, "d": -1})]),
    ),
    "olmo3": (
        "<function_calls>",
        '<function_calls>get_weather(city="Paris")\nget_weather(city="Rome")</function_calls>',
        ("", [PARIS, ROME]),
    ),
    "functiongemma": (
        "<start_function_call>",
        '<start_function_call>call:get_weather{city:<escape>Pa, {x}: "ris"<escape>,days:3}'
        "<end_function_call>",
        ("", [("get_weather", {"city": 'Pa, {x}: "ris"', "days": 3})]),
    ),
    "gemma4": (
        "<|tool_call> <tool_call|>",
        '<|tool_call>call:f{a:<|"|>x<|"|>,b:{c:[true,<|"|>y<|"|>]}}<tool_call|>',
        ("", [("f", {"a": "x", "b": {"c": [True, "y"]}})]),
    ),
    "minimax m3": (
        '<invoke name="]<]minimax[>[',
        "Hm.]<]minimax[>[<tool_call>\n"
        ']<]minimax[>[<invoke name="get_weather_map">]<]minimax[>[<areas>]<]minimax[>[<item>1'
        "]<]minimax[>[</item>]<]minimax[>[<item>b]<]minimax[>[</item>]<]minimax[>[</areas>"
        "]<]minimax[>[<options>]<]minimax[>[<a>é < ü\n]<]minimax[>[</a>]<]minimax[>[</options>"
        ']<]minimax[>[</invoke>\n]<]minimax[>[<invoke name="get_weather">]<]minimax[>[<city>Rome'
        "]<]minimax[>[</city>]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
        ("Hm.", [("get_weather_map", {"areas": ["1", "b"], "options": {"a": "é < ü"}}), ROME]),
    ),
    "hunyuan": (
        "{% set HYTK = ':opensource' %}{{ '<tool_sep{}>'.format(HYTK) }}",
        "Ça.<tool_calls:opensource>\n<tool_call:opensource>get_weather<tool_sep:opensource>\n"
        "<arg_key:opensource>city</arg_key:opensource>\n"
        "<arg_value:opensource>Paris</arg_value:opensource>\n</tool_call:opensource>\n"
        "<tool_call:opensource>f<tool_sep:opensource>\n</tool_call:opensource>\n"
        "</tool_calls:opensource>",
        ("Ça.", [PARIS, ("f", {})]),
    ),
    "gigachat 3": (
        "<|role_sep|><|message_sep|>function call",
        "Да<|message_sep|>\n\nfunction call<|role_sep|>\n"
        '{"name": "get_weather", "arguments": {"city": "Paris"}}',
        ("Да", [PARIS]),
    ),
    "gigachat 3.1": (
        "<|role_sep|><|message_sep|><|function_call|>",
        'Да<|function_call|>{"name": "get_weather", "arguments": {"city": "Paris"}}',
        ("Да", [PARIS]),
    ),
    "functionary 3.2": (
        "'>>>all\n'",
        'all\nIt é > a >> b.>>>f\n{"x": ">>>all\\n"}>>>get_weather\n{"city": "Paris"}',
        ("It é > a >> b.", [("f", {"x": ">>>all\n"}), PARIS]),
    ),
    "functionary 3.1": (
        "<{start_tag}={function_name}> <function=",
        'So <function=get_weather>{"city": "Paris"}</function><function=f>{}</function>',
        ("So", [PARIS, ("f", {})]),
    ),
    "cohere": (
        "<|START_ACTION|>",
        '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", "parameters":'
        ' {"city": "Paris"}}]<|END_ACTION|>',
        ("", [PARIS]),
    ),
    "llama3": (
        '{"name": function name, "parameters": dictionary}',
        '{"name": "get_weather", "parameters": {"city": "Paris"}}',
        ("", [PARIS]),
    ),
    "llama3.1 with its token": (
        '<|python_tag|> {"name": function name, "parameters": dictionary}',
        '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}; '
        '{"name": "f", "parameters": {}}',
        ("", [PARIS, ("f", {})]),
    ),
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_calls_in_a_models_own_syntax_are_read(name: str) -> None:
    template, text, expected = BUILT_IN[name]
    for pieces in cuts(text):
        assert read(pieces, template) == expected, pieces


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_text_without_calls_is_content_to_the_last_character(name: str) -> None:
    text = "  <tool, [TOOL] or {maybe} a < b <|tool \n"
    for pieces in cuts(text):
        assert read(pieces, BUILT_IN[name][0]) == (text, [])


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        (
            "<tool_call>",
            'a<tool_call>{"name":"f","arguments":{"x":1}}</tool_call>',
            ("a", [("f", {"x": 1})]),
        ),
        ("<tool_call>", "just text <tool", ("just text <tool", [])),
        ("<tool_call>", '<tool_call>{"name":"unknown","arguments":{}}', ("", [])),
        ("<tool_call>", '<tool_call>{"f": {"x": [1]}}', ("", [("f", {"x": [1]})])),
        (
            "<tool_call>",
            '<tool_call>{"a":[{"name":"f","parameters":{"x":"}"}}]}',
            ("", [("f", {"x": "}"})]),
        ),
        (
            "<tool_call>",
            '<tool_call>f {"x": 2} get_weather {"city": "Rome"}',
            ("", [("f", {"x": 2}), ROME]),
        ),
        ("<tool_call>", '<tool_call>get_weather_map{"a":1}', ("", [("get_weather_map", {"a": 1})])),
        ("{", ' {"name":"f","arguments":{"x":1}}', ("", [("f", {"x": 1})])),
        ("{", 'no {"name":"f","arguments":{"x":1}}', ('no {"name":"f","arguments":{"x":1}}', [])),
        ("{", '{"answer": 42} and more', ('{"answer": 42} and more', [])),
        ("{", '{"name": "f"', ('{"name": "f"', [])),
        ("{", '{"name":"f"} I am', ('{"name":"f"} I am', [])),
        ("{", '  {"answer": "a}"} 1', ('  {"answer": "a}"} 1', [])),
        ("{", '{"f":{"x":1}}\n{"f":{}} or {1}', ("or {1}", [("f", {"x": 1}), ("f", {})])),
        ("[", '[{"name":"f"},{"f":{"x":1}}', ("", [("f", {"x": 1})])),
        ("[", '[{"f":{"x":1}}] ]', ("", [("f", {"x": 1})])),
        ("[", '[{"g":1,"x":"]"}] {', ('[{"g":1,"x":"]"}] {', [])),
        ("[T]", '[T]{"x":1} f {"x":2} f {"x":3}', ("", [("f", {"x": 1}), ("f", {"x": 2})])),
        ("[T]", '[T]"{f {"x":1}" {"x":"\\"}"}', ("", [("f", {"x": '"}'})])),
        ("{", '{"name":"f","arguments":{}}', ("", [("f", {})])),
        (
            "[",
            '[{"name":"f","arguments":{"x":1}},{"name":"f","arguments":{"x":2}}]',
            ("", [("f", {"x": 1}), ("f", {"x": 2})]),
        ),
        (
            "[TOOL_CALLS]",
            '[TOOL_CALLS] [{"name":"f","arguments":"{\\"x\\":1}"}]',
            ("", [("f", {"x": 1})]),
        ),
    ],
)
def test_calls_of_a_model_with_a_go_template_are_read(tag: str, text: str, expected: Read) -> None:
    for pieces in cuts(text):
        content, calls = read(pieces, "", tag)
        assert (content.lstrip(" ") if calls else content, calls) == expected, pieces


@pytest.mark.parametrize("tag", ["{", "[", "[T]"])
def test_an_object_without_an_end_takes_its_own_length(tag: str) -> None:
    parser = toolcalls.find("", tag, TOOLS)
    parser.push(tag + ' {"f": [')
    start = time.thread_time()
    for _ in range(20_000):
        assert parser.push('{"x": "}"},') == ("", [])
    assert time.thread_time() - start < 5  # minutes, where each brace looks at all before it


def test_a_call_that_cannot_be_read_is_an_error() -> None:
    parser = toolcalls.find("<tool_call>", "", TOOLS)
    with pytest.raises(OllmlxError, match=r"^failed to parse tool call: "):
        parser.push("<tool_call>{nonsense</tool_call>")


def test_a_call_whose_last_tag_is_missing_is_read_at_the_end() -> None:
    text = '<tool_call>{"name": "f", "arguments": {"x": 1}}'
    assert read([text], "<tool_call>") == ("", [("f", {"x": 1})])


def test_a_call_cut_short_is_content() -> None:
    text = '<tool_call>{"name": "f", "argu'
    assert read([text], "<tool_call>") == (text, [])


def test_a_call_is_given_at_its_end_and_content_at_once() -> None:
    parser = toolcalls.find("<tool_call>", "", TOOLS)
    assert parser.push("Hello <") == ("Hello", [])
    assert parser.push("b> <tool_call>") == (" <b>", [])
    assert parser.push('{"name": "f", "arguments": {}}</tool_call')[1] == []
    assert [call.name for call in parser.push(">")[1]] == ["f"]


def test_a_reply_whose_parts_are_addressed_needs_no_tools_to_be_read() -> None:
    assert toolcalls.addresses("'>>>all\n'", "")
    for pieces in cuts("all\nHé!\n>>>all\nYou."):
        parser = toolcalls.find("'>>>all\n'", "", ())
        content = "".join(parser.push(piece)[0] for piece in pieces)
        assert (content + parser.finish()[0]) == "Hé!\nYou."
    for text in ("plain", "al", "f\n{}", '{"a": 1}', "a >>> b"):
        parser = toolcalls.find("'>>>all\n'", "", ())
        content, _ = parser.push(text)
        assert content + parser.finish()[0] == text.replace(">>>", ""), text


def test_a_call_to_a_tool_that_breaks_off_is_content() -> None:
    assert read(['f\n{"x": 1'], "'>>>all\n'") == ('f\n{"x": 1', [])

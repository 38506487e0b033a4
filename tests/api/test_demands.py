"""What requests demand beyond Ollama's API: choices of tools, budgets, formats, biases."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ollmlx.settings import Settings
from ollmlx.wire.native import ModelDetails
from tests.echo import EchoLibrary, echo_model
from tests.serving import served
from tests.toy import TEMPLATE, ToyModels

THINKS = TEMPLATE + "{# <think> </think> #}"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Oslo", "Rio"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
RING = {
    "type": "function",
    "function": {"name": "ring", "parameters": {"type": "object", "properties": {}}},
}
EVERYTHING = "{{ range .Messages }}[{{ .Content }}]{{ end }}"
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def url(scripted: ToyModels, toy: ToyModels) -> Iterator[str]:
    able = {"template": "", "capabilities": ("completion", "tools", "thinking")}
    models = [
        echo_model(
            f"{name}-{kind}:latest",
            str(made.gguf if kind == "gguf" else made.mlx),
            format=kind,
            chat_template=template,
            **able,
        )
        for kind in ("gguf", "mlx")
        for name, made, template in [
            *(("scripted", scripted, THINKS), ("random", toy, THINKS)),
            ("muses", toy, f"{THINKS}<think>"),
        ]
    ]
    clever = echo_model(
        "echo:latest",
        capabilities=("completion", "thinking"),
        template=(
            "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ else }}"
            "{{ .Content }}{{ end }}{{ end }}"
        ),
    )
    details = ModelDetails("", "gguf", "qwen3", ["qwen3"], "1K", "F32", 4096, 3)
    forgets = echo_model("forgets:latest", details=details, template=EVERYTHING)
    with served(Settings(context_length=512), EchoLibrary(*models, clever, forgets)) as url:
        yield url


@pytest.fixture(params=["gguf", "mlx"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def ask(client: httpx.AsyncClient, model: str, **fields: Any) -> Any:
    body = {"model": model, "messages": HI, "stream": False, "think": False, **fields}
    body["options"] = {"temperature": 0, "num_predict": 60, **fields.get("options", {})}
    return (await client.post("/api/chat", json=body)).json()


async def called(client: httpx.AsyncClient, model: str, **fields: Any) -> list[Any]:
    message = (await ask(client, model, tools=[WEATHER, RING], **fields))["message"]
    assert message["content"] == ""
    return [call["function"] for call in message["tool_calls"]]


async def test_a_required_call_comes_though_the_model_would_not_call(client, kind):
    fields = {"tool_choice": "required", "parallel_tool_calls": False}
    (call,) = await called(client, f"random-{kind}", **fields)
    assert call["name"] in ("get_weather", "ring")
    fields["tool_choice"] = {"type": "function", "function": {"name": "get_weather"}}
    (call,) = await called(client, f"random-{kind}", **fields)
    assert call["name"] == "get_weather"
    assert call["arguments"]["city"] in ("Oslo", "Rio")


async def test_a_call_is_free_until_it_is_forbidden(client, kind):
    (call,) = await called(client, f"scripted-{kind}")
    assert call["arguments"] == {"city": "Paris"}
    answer = await ask(client, f"scripted-{kind}", tools=[WEATHER], tool_choice="none")
    assert "tool_calls" not in answer["message"]
    assert "<tool_call>" not in answer["message"]["content"]


async def test_calls_follow_thoughts_and_a_budget_closes_these(client, kind):
    fields = {"think": True, "tools": [WEATHER], "tool_choice": "required", "thinking_budget": 4}
    answer = await ask(client, f"random-{kind}", **fields)
    assert answer["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


async def test_an_answer_follows_thoughts_that_are_longer_than_the_window(client, kind):
    format = {"type": "choice", "choices": ["left", "right"]}
    options = {"num_ctx": 128, "num_predict": 200}
    fields = {"think": True, "thinking_budget": 150, "format": format, "options": options}
    answer = await ask(client, f"muses-{kind}", **fields)
    assert answer["message"]["thinking"]
    assert answer["message"]["content"] in ("left", "right")
    short = await ask(client, f"muses-{kind}", shift=False, **{**fields, "thinking_budget": 104})
    assert (short["message"]["content"], short["done_reason"]) == ("", "length")


async def test_a_budget_of_thoughts_is_kept_and_the_answer_follows(client):
    said = f"<think>{'mn' * 20}</think>yes"
    fields = {"messages": [{"role": "user", "content": said}], "think": True}
    fields["options"] = {"num_predict": 200}
    free = (await ask(client, "echo", **fields))["message"]
    assert (free["thinking"], free["content"]) == ("mn" * 20, "yes")
    wide = (await ask(client, "echo", thinking_budget=100, **fields))["message"]
    assert wide == free
    spare = (await ask(client, "echo", thinking_budget=17, **fields))["message"]
    assert spare["thinking"] == "mn" * 5
    assert spare["content"].endswith("<think>mnmnmnmnmn\n</think>\n\n")
    none = (await ask(client, "echo", thinking_budget=0, **fields))["message"]
    assert "thinking" not in none
    assert none["content"] == f"{said}<think>\n</think>\n\n"


async def test_a_format_of_any_notation_is_kept(client, kind):
    for format, texts in [
        ({"type": "choice", "choices": ["left", "right"]}, {"left", "right"}),
        ({"type": "regex", "pattern": "(ab|cd){2}"}, {"abab", "abcd", "cdab", "cdcd"}),
        ({"type": "gbnf", "grammar": 'root ::= "u" | "v"'}, {"u", "v"}),
        ({"type": "lark", "grammar": 'start: "x" | "y"'}, {"x", "y"}),
    ]:
        answer = await ask(client, f"random-{kind}", format=format)
        assert answer["message"]["content"] in texts


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"tool_choice": "required"}, "needs tools"),
        ({"tool_choice": {"type": "function", "function": {"name": "gone"}}}, '"gone"'),
        ({"options": {"logit_bias": {"99999": 1}}}, "token ids are from 0 to"),
        ({"options": {"logit_bias": {"a": 1}}}, "logit_bias"),
        ({"options": {"logit_bias": {"1": "2"}}}, "logit_bias"),
        ({"format": {"type": "regex", "pattern": "("}}, "unclosed group"),
        ({"format": {"type": "object", "if": {}}}, "if"),
    ],
)
async def test_what_cannot_be_honoured_is_refused(client, fields, error):
    body = {"model": "random-gguf", "messages": HI, **fields}
    response = await client.post("/api/chat", json=body)
    assert response.status_code == 400
    assert error in response.json()["error"]


async def test_arguments_that_no_grammar_holds_to_are_refused_when_they_have_to_be(client):
    parameters = {"type": "object", "properties": {"a": {"not": {"type": "string"}}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    body = {"model": "random-gguf", "messages": HI, "tools": tools, "tool_choice": "required"}
    response = await client.post("/api/chat", json=body)
    assert response.status_code == 400
    assert "not" in response.json()["error"]


async def test_a_bias_forces_a_token(client, kind):
    options = {"logit_bias": {"97": 1000}, "num_predict": 5}
    answer = await ask(client, f"random-{kind}", options=options)
    assert answer["message"]["content"] == "aaaaa"


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_was_left_out_of_a_prompt_is_told(client, path, stream):
    messages = [
        {"role": "user", "content": "x" * 60},
        {"role": "assistant", "content": "y" * 61},
        {"role": "user", "content": "last"},
    ]

    async def told(said: list[dict[str, str]]) -> dict[str, str]:
        options = {"num_ctx": 64}
        body = {"model": "echo", "messages": said, "options": options, "stream": stream}
        response = await client.post(path, json={**body, "max_tokens": 20, "num_ctx": 64})
        assert response.status_code == 200
        return {k: v for k, v in response.headers.items() if k.startswith("ollmlx-")}

    assert await told(messages[-1:]) == {}
    if path != "/v1/messages":  # it has no context length of its own
        assert await told(messages) == {"ollmlx-dropped-messages": "2"}
        long = [{"role": "user", "content": "zy" * 50}]
        assert await told(long) == {"ollmlx-dropped-tokens": "66"}


async def test_old_thoughts_are_not_shown_again_to_families_that_want_none(client):
    thought = "<think>hm</think>\n\nB"
    messages = [
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": thought},
        {"role": "user", "content": thought},
        {"role": "assistant", "content": thought},
    ]
    answer = await ask(client, "forgets", messages=messages, _debug_render_only=True)
    prompt = answer["_debug_info"]["rendered_template"]
    assert prompt == f"[A][B][{thought}][{thought}]"

"""What OpenAI's Responses API tells of an answer: itself, and the items in it."""

import json
import random
import time
from typing import Any

from msgspec import UNSET, Raw, UnsetType, structs

from ollmlx.api.openai.envelope import called_tools
from ollmlx.api.responses.input import input_items
from ollmlx.api.responses.kept import Kept
from ollmlx.api.responses.tools import places
from ollmlx.errors import Forbidden
from ollmlx.wire import native, openai
from ollmlx.wire import responses as wire
from ollmlx.wire.encode import encode, number


class Output:
    """The answer to one request, whose input goes on from the items `before`."""

    def __init__(self, request: wire.ResponsesRequest, before: list[Any], kept: Kept) -> None:
        self.id = f"resp_{new_number()}"
        while self.id in kept:
            self.id = f"resp_{new_number()}"
        self._before, self._kept = before, kept
        self.message_id = f"msg_{new_number()}"
        self._places = places(request.tools)
        self.searches = any(tool.type == "web_search" for tool in request.tools)
        self._request, self._created = request, int(time.time())

    def whole(self, answer: native.ChatResponse) -> wire.Response:
        """Raises `Forbidden` where the model would search the web."""
        said, items = answer.message, list[wire.Item]()
        if said.thinking:
            items.append(reasoning_item(f"rs_{self.id}", said.thinking))
        for index, call in enumerate(called_tools(said.tool_calls)):
            if self.is_search(call):
                raise self.no_search
            items.append(self.call_item(f"fc_{self.id}_{index}", call))
        if not said.tool_calls:
            items.append(message_item(self.message_id, said.content, answer.logprobs))
        return self.completed(items, usage(answer), UNSET)

    def call_item(self, name: str, call: openai.ToolCall) -> wire.CallItem:
        """As OpenAI has it, a function of a namespace is told without that in its name."""
        function = call.function
        namespace, own = self._places.get(function.name, (UNSET, function.name))
        return wire.CallItem(
            id=name,
            call_id=call.id,
            name=own,
            arguments=function.arguments,
            namespace=namespace,
        )

    def is_search(self, call: openai.ToolCall) -> bool:
        return self.searches and call.function.name == "web_search"

    @property
    def no_search(self) -> Forbidden:
        """What Ollama answers where its cloud is switched off, which does the searching."""
        return Forbidden("ollama cloud is disabled: web search is unavailable")

    def search_item(self, call: openai.ToolCall) -> wire.SearchItem:
        query = json.loads(call.function.arguments).get("query", "")
        number = self.id.removeprefix("resp_")
        return wire.SearchItem(id=f"ws_{number}_1", action=wire.Search(str(query)))

    def completed(
        self, items: list[wire.Item], costs: wire.Usage, missing: UnsetType | None = None
    ) -> wire.Response:
        """Keeps it, unless the request says not to."""
        if self._request.store is not False:
            self._kept.put(self.id, [*self._before, *input_items(self._request.input), *items])
        return self.response("completed", items, costs, missing=missing)

    def response(
        self,
        status: str,
        items: list[wire.Item],
        costs: wire.Usage | None = None,
        error: wire.Error | None = None,
        missing: UnsetType | None = None,
    ) -> wire.Response:
        """`missing` stands for what the request does not say about reasoning."""
        asked = self._request
        return wire.Response(
            id=self.id,
            created_at=self._created,
            completed_at=int(time.time()) if status == "completed" else None,
            status=status,
            model=asked.model,
            previous_response_id=asked.previous_response_id if self._before else None,
            instructions=asked.instructions or None,
            output=items,
            error=error,
            tools=asked.tools,
            tool_choice=asked.tool_choice or "auto",
            truncation="disabled" if asked.truncation is None else asked.truncation,
            parallel_tool_calls=asked.parallel_tool_calls is not False,
            text=wire.TextEcho(_format(asked.text)),
            top_p=_or_one(asked.top_p),
            top_logprobs=asked.top_logprobs,
            temperature=_or_one(asked.temperature),
            reasoning=_reasoning(asked.reasoning, missing),
            usage=costs,
            max_output_tokens=asked.max_output_tokens,
            store=asked.store is not False,
            background=asked.background,
        )


def _format(text: wire.ResponsesText | None) -> wire.ResponsesTextFormat:
    found = (text and text.format) or wire.ResponsesTextFormat("text")
    if found.schema_ is UNSET:
        return found
    # Unlike all around it, a schema keeps the order of its keys.
    return structs.replace(found, schema_=Raw(encode(found.schema_)))


def _or_one(value: float | None) -> float | int:
    return 1 if value is None else number(value)


def _reasoning(
    asked: wire.ResponsesReasoning | None, missing: UnsetType | None
) -> wire.ReasoningEcho | None:
    if not asked or not (asked.effort or asked.summary):
        return None
    return wire.ReasoningEcho(asked.effort or missing, asked.summary or missing)


def new_number() -> int:
    return random.randrange(999_999)


def message_item(name: str, text: str, logprobs: list[native.Logprob]) -> wire.MessageItem:
    return wire.MessageItem(id=name, content=[wire.Part(text, logprobs=logprobs)])


def reasoning_item(name: str, thoughts: str) -> wire.ReasoningItem:
    return wire.ReasoningItem(id=name, summary=[wire.Summary(thoughts)], encrypted_content=thoughts)


def usage(answer: native.ChatResponse) -> wire.Usage:
    read, written = answer.prompt_eval_count, answer.eval_count
    cached, thought = answer.cached_tokens, answer.thinking_tokens
    return wire.Usage(
        read, written, read + written, wire.InputTokens(cached), wire.OutputTokens(thought)
    )

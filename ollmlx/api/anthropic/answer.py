"""A chat's answer as Anthropic's message, and what its stream has in common with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ollmlx.api.anthropic.messages import WEB_SEARCH
from ollmlx.api.openai.envelope import FEWEST_CACHED
from ollmlx.wire import anthropic as wire
from ollmlx.wire.native import ChatResponse, ReplyToolCall

_STOP_REASONS = {"": "", "stop": "end_turn", "length": "max_tokens"}


@dataclass(frozen=True)
class Head:
    """What is known of a message before it is written."""

    id: str
    model: str
    searches: bool
    """Whether the model may call Anthropic's own web search, which is the server's to answer."""

    def message(
        self, content: list[wire.Block] | None, usage: wire.Usage, reason: str = ""
    ) -> wire.MessagesResponse:
        return wire.MessagesResponse(
            id=self.id,
            type="message",
            role="assistant",
            model=self.model,
            content=content,
            stop_reason=reason,
            usage=usage,
        )


def message(head: Head, answer: ChatResponse) -> wire.MessagesResponse:
    calls = answer.message.tool_calls
    if search := web_search(head, calls):
        return head.message([*failed_search(head, search)], usage(answer), "end_turn")
    reason = stop_reason(answer.done_reason, bool(calls))
    return head.message([*_blocks(answer)] or None, usage(answer), reason)


def _blocks(answer: ChatResponse) -> Iterator[wire.Block]:
    if answer.message.thinking:
        yield wire.ThinkingBlock("thinking", answer.message.thinking)
    if answer.message.content:
        yield wire.TextBlock("text", answer.message.content)
    for call in answer.message.tool_calls:
        yield wire.ToolUseBlock("tool_use", call.id, call.function.name, call.function.arguments)


def stop_reason(native: str, called: bool) -> str:
    return "tool_use" if called else _STOP_REASONS.get(native, "stop_sequence")


def usage(answer: ChatResponse) -> wire.Usage:
    """Anthropic counts what came out of a cache apart."""
    cached = answer.cached_tokens if answer.cached_tokens >= FEWEST_CACHED else 0
    return wire.Usage(answer.prompt_eval_count - cached, answer.eval_count, cached)


# -- web search -----------------------------------------------------------------------------------


def web_search(head: Head, calls: Sequence[ReplyToolCall]) -> ReplyToolCall | None:
    """The call that is the server's to answer; it comes before all others."""
    found = (call for call in calls if call.function.name == WEB_SEARCH)
    return next(found, None) if head.searches else None


def failed_search(head: Head, call: ReplyToolCall) -> Iterator[wire.Block]:
    """The search and its outcome: there is none, as for Ollama where its cloud is disabled."""
    query = call.function.arguments.get("query", "")
    query = query if isinstance(query, str) else ""
    name = f"srvtoolu_{head.id.removeprefix('msg_')}"
    error = wire.WebSearchError(
        "web_search_tool_result_error", "unavailable" if query else "invalid_request"
    )
    yield wire.ToolUseBlock("server_tool_use", name, WEB_SEARCH, {"query": query})
    yield wire.WebSearchResultBlock("web_search_tool_result", name, error)

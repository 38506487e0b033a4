"""A conversation as the text a model was trained to read, by the model's Go or Jinja template."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any, Protocol

from msgspec import structs

from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.prompt import gotemplate, syntax
from ollmlx.prompt.conversation import Conversation, check_depth
from ollmlx.prompt.gotemplate import analysis, nodes
from ollmlx.prompt.goviews import merged, message_view, tools_view
from ollmlx.prompt.jinja import Source, Unbounded
from ollmlx.wire.native import Message, ToolCall

__all__ = ["Conversation", "GoTemplate", "JinjaTemplate", "Template", "choose"]

_RESPONSE = nodes.Action(nodes.Pipeline(((nodes.Field(("Response",), 0),),), (), False, 0))


class Template(Protocol):
    """What a model's template tells, and does."""

    source: str
    thinking: tuple[str, str] | None
    """The tags around thoughts, if the model has any."""
    tool_tag: str
    """What stands before tool calls, for the generic parser; empty: see the source."""

    def render(self, conversation: Conversation) -> str:
        """The prompt.  Raises BadRequest when the template refuses the conversation."""
        ...


class GoTemplate:
    """A template of Ollama's.  Raises OllmlxError with Go's text when it does not parse.

    A template that mentions `.Messages` gets them all at once; an older one is run once for each
    turn, and the last turn ends where the answer goes.
    """

    def __init__(self, text: str) -> None:
        self.source = text
        self._program = gotemplate.parse(text)
        self.names = analysis.mentioned(self._program)
        if not self.names & {"messages", "response"}:
            root = (*self._program.root, _RESPONSE)
            templates = {**self._program.templates, "": root}
            self._program = replace(self._program, templates=templates)
        self.thinking = analysis.thinking_tags(self._program)
        self.tool_tag = analysis.tool_call_tag(self._program)

    def render(self, conversation: Conversation) -> str:
        think = {
            "Think": bool(conversation.think),
            "ThinkLevel": conversation.think_level,
            "IsThinkSet": conversation.think is not None,
        }
        if conversation.fills:
            return self._run(
                Prompt=conversation.prompt, Suffix=conversation.suffix, Response="", **think
            )
        messages = merged(conversation.messages)
        if "messages" not in self.names:
            return "".join(self._turns(messages, think))
        systems = [m.content for m in conversation.messages if m.role == "system"]
        return self._run(
            System="\n\n".join(systems),
            Messages=[message_view(message) for message in messages],
            Tools=tools_view(conversation.tools),
            Response="",
            **think,
        )

    def _run(self, **data: Any) -> str:
        return gotemplate.execute(self._program, data)

    def _turns(self, messages: Sequence[Message], think: dict[str, Any]) -> Iterator[str]:
        turn = {"System": "", "Prompt": "", "Response": ""}
        for message in messages:
            match message.role:
                case "system" if turn["Prompt"] or turn["Response"]:
                    yield self._run(**turn, **think)
                    turn = {"System": message.content, "Prompt": "", "Response": ""}
                case "system":
                    turn["System"] = message.content
                case "user" if turn["Response"]:
                    yield self._run(**turn, **think)
                    turn = {"System": "", "Prompt": message.content, "Response": ""}
                case "user":
                    turn["Prompt"] = message.content
                case "assistant":
                    turn["Response"] = message.content
        yield gotemplate.execute(analysis.until_response(self._program), {**turn, **think})


class JinjaTemplate:
    """A chat template out of a model's weights.  Raises OllmlxError when it does not parse.

    The text begins with `bos` where the template writes it: a tokenizer must not add another.
    """

    tool_tag = ""

    def __init__(self, text: str, bos: str = "", eos: str = "") -> None:
        self.source = text
        self._jinja = Source(text)
        self._constants = {"bos_token": bos, "eos_token": eos}
        self.thinking = syntax.thinking_tags(text)
        self._in_parts = False
        if "type" in text and not self._tells_text():
            # Templates of models that see pass over a text that is not a list of typed parts.
            self._in_parts = True
            self._in_parts = self._tells_text()

    def render(self, conversation: Conversation) -> str:
        if conversation.fills:
            raise BadRequest("the model's template has no place for a suffix")
        *before, last = [*conversation.messages] or [Message()]
        if before and last.role == "assistant" and not last.tool_calls:
            return self._continued(replace(conversation, messages=before), last)
        return self._rendered(conversation)

    def _tells_text(self) -> bool:
        """Whether what a user says is in the prompt."""
        said = "Is anybody there"
        try:
            return said in self._rendered(Conversation([Message(role="user", content=said)]))
        except OllmlxError:
            return False

    def _continued(self, conversation: Conversation, begun: Message) -> str:
        """The prompt for an answer that has begun, as llama-server makes it."""
        prompt = self._rendered(conversation)
        if not begun.thinking or self.thinking is None:
            return prompt + begun.content
        opening, closing = self.thinking
        start = "" if prompt.rstrip().endswith(opening) else f"{opening}\n"
        return f"{prompt}{start}{begun.thinking}\n{closing}\n\n{begun.content}"

    def _rendered(self, conversation: Conversation) -> str:
        """The first way of handing the conversation over that the template takes."""
        check_depth(list(conversation.tools))
        variables = self._variables(conversation)
        failure: OllmlxError | TypeError | None = None
        # Hermes' template goes through the tools even where there are none.
        offered = list(conversation.tools)
        offers: list[list[Any] | None] = [offered] if offered else [None, []]
        for tools, messages in product(offers, _ways(conversation.messages)):
            if self._in_parts:
                messages = [_with_parts(message) for message in messages]
            try:
                return self._jinja.render({**variables, "tools": tools, "messages": messages})
            except Unbounded:
                raise
            except (OllmlxError, TypeError) as error:
                failure = failure or error
        if isinstance(failure, OllmlxError):
            raise failure
        raise OllmlxError(f"chat template: {failure}") from failure

    def _variables(self, conversation: Conversation) -> dict[str, Any]:
        think, variables = conversation.think, dict[str, Any](self._constants)
        if think is not None:
            # Names that Qwen and most others, DeepSeek V3.1 and MiniMax M3 gave the same switch.
            variables |= {"enable_thinking": bool(think), "thinking": bool(think)}
            variables["thinking_mode"] = "enabled" if think else "disabled"
            if "no_think" in self.source:  # Hunyuan has levels and no switch
                variables["reasoning_effort"] = "high" if think else "no_think"
        if isinstance(think, str):
            # gpt-oss, Kimi K3
            variables |= {"reasoning_effort": think, "thinking_effort": think}
        return {**variables, "documents": None, "add_generation_prompt": True}


def _ways(messages: Sequence[Message]) -> Iterator[list[dict[str, Any]]]:
    """The messages as templates want them: most take the first form, some another."""
    forms = [messages]
    if any(message.tool_calls for message in messages):
        yield [_as_openai(message) for message in messages]
        # DeepSeek's add the arguments to a text.
        yield [_as_openai(message, arguments_as_text=True) for message in messages]
        # Mistral's insist on ids of nine letters.
        forms = [_numbered(messages)]
    if len(joined := _joined(forms[0])) < len(messages):
        forms.append(joined)
    folded = _without_system(forms[-1])
    for form in forms if folded is None else [*forms, folded]:
        yield [_as_openai(message) for message in form]


def _joined(messages: Sequence[Message]) -> list[Message]:
    """A user's text and images as one message, for templates where roles must alternate: the parts
    of an OpenAI message come as messages of their own.
    """
    kept = list[Message]()
    for message in messages:
        last = kept[-1] if kept else Message()
        if last.role == message.role == "user" and (last.images or message.images):
            text, images = f"{last.content}\n\n{message.content}", last.images + message.images
            kept[-1] = structs.replace(last, content=text, images=images)
        else:
            kept.append(message)
    return kept


def _numbered(messages: Sequence[Message]) -> list[Message]:
    """Messages whose calls and results have numbers for ids.

    Ollama's clients may give a result only the name of its tool, or nothing but its place.
    """
    count, waiting, kept = 0, list[tuple[ToolCall, str]](), list[Message]()
    for message in messages:
        calls = []
        for call in message.tool_calls:
            waiting.append((call, f"{count:09d}"))
            calls.append(structs.replace(call, id=f"{count:09d}"))
            count += 1
        number = _answered(message, waiting) if message.role == "tool" else ""
        kept.append(structs.replace(message, tool_calls=calls, tool_call_id=number))
    return kept


def _answered(result: Message, waiting: list[tuple[ToolCall, str]]) -> str:
    """The number of the call that a result answers; that call waits no longer."""
    wanted = result.tool_call_id or result.tool_name
    for call, number in waiting:
        if not wanted or wanted in (call.id, call.function.name):
            waiting.remove((call, number))
            return number
    return ""


def _without_system(messages: Sequence[Message]) -> list[Message] | None:
    """The system message put into the first user's, for templates that know no such role."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return None
    system, user, *rest = messages
    return [structs.replace(user, content=f"{system.content}\n{user.content}"), *rest]


def _as_openai(message: Message, arguments_as_text: bool = False) -> dict[str, Any]:
    """A message in the shape of OpenAI's API, the arguments of calls as objects or as JSON."""
    shaped: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        shaped["reasoning_content"] = message.thinking
        shaped["thinking"] = message.thinking
    if message.tool_calls:
        shaped["tool_calls"] = [_call(call, arguments_as_text) for call in message.tool_calls]
    if message.tool_name:
        shaped["name"] = message.tool_name
    if message.tool_call_id:
        shaped["tool_call_id"] = message.tool_call_id
    return shaped


def _with_parts(shaped: dict[str, Any]) -> dict[str, Any]:
    """The message with its text as the only one of OpenAI's typed parts."""
    return {**shaped, "content": [{"type": "text", "text": shaped["content"]}]}


def _call(call: ToolCall, as_text: bool) -> dict[str, Any]:
    check_depth(call.function.arguments)
    arguments: Any = call.function.arguments
    if as_text:
        arguments = json.dumps(arguments, ensure_ascii=False)
    function = {"name": call.function.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


@lru_cache(maxsize=32)
def choose(go: str, jinja: str, bos: str, eos: str, forced: bool | None) -> Template:
    """The template to use of the two that a model may bring; the same one for the same arguments.

    `forced` (OLLAMA_GO_TEMPLATE) takes the Go template, or the Jinja, where there is one.
    Otherwise it is the Go template unless the Jinja knows more of tools and thinking.
    """
    if jinja and (not go or forced is False or (forced is None and _richer(jinja, go))):
        return JinjaTemplate(jinja, bos, eos)
    return GoTemplate(go or "{{ .Prompt }}")


def _richer(jinja: str, go: str) -> bool:
    template = GoTemplate(go)
    ours = {"tools"} if "tools" in template.names else set[str]()
    ours |= {"thinking"} if template.thinking else set()
    theirs, there = syntax.abilities(jinja), syntax.answers_tools(jinja)
    here = analysis.answers_tools(go, template.names)
    if len(theirs) > len(ours):
        return there or not here
    return theirs == ours and "tools" in ours and there and not here

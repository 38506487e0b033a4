"""A cell on its way to a model and back: question, calls of functions, answer, conversation."""

from argparse import Namespace
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any, cast

from ollama import ChatResponse

from ollmlx.client import Client, check_options, default_model
from ollmlx.notebook import images, tools
from ollmlx.notebook.answer import INTERRUPTED, Answer, Turn, View, new_view
from ollmlx.notebook.errors import Failed, Interrupted, Misused, Raised, theirs
from ollmlx.notebook.session import Message, Session
from ollmlx.notebook.tools import Call, Tools
from ollmlx.notebook.variables import check_out, fill, option, wanted_shape

RESULT = "_ollmlx"


def ask(session: Session, given: Namespace, cell: str) -> None:
    """Send a cell, show the answer while it comes, and remember both."""
    variables = session.variables
    check_out(given.out)
    question = _question(given, cell, variables)
    functions = tools.named(given.tools, variables)
    wanted = wanted_shape(given.format, variables)
    with Client() as client:
        model = given.named or given.model or session.model or default_model(client)
        chat = given.chat or model
        messages = [*_known(session, chat, given), question]
        request = {
            "model": model,
            "options": options(given),
            "format": wanted.format,
            "think": {"true": True, "false": False}.get(given.think, given.think),
            "keep_alive": given.keep_alive,
        }
        answer = variables[RESULT] = Answer(model, shape=wanted)
        try:
            _converse(client, request, messages, functions, given.rounds, answer)
        finally:
            if messages[-1] is not question:
                session.model, session.conversations[chat] = model, messages
    if answer.interrupted:
        raise Interrupted(f"interrupted; what had come by then is in {RESULT}")
    if given.out:
        variables[given.out] = answer.value


def options(given: Namespace) -> dict[str, Any]:
    """The API's `options`.  Raises `Misused`, and what `check_options` does."""
    named = {key: getattr(given, key) for key in ("temperature", "seed", "num_predict")}
    made = {key: value for key, value in named.items() if value is not None}
    made |= (option(text) for text in given.option)
    check_options(made)
    return made


def _question(given: Namespace, cell: str, variables: Mapping[str, Any]) -> Message:
    """Raises `Misused`."""
    if given.rounds < 1:
        raise Misused("--rounds is a number from 1 up")
    text = cell.strip()
    question = {"role": "user", "content": text if given.raw else fill(text, variables)}
    if not given.image:
        if not question["content"]:
            raise Misused("there is nothing below %%ollmlx to ask")
        return question
    return {**question, "images": [images.named(name, variables) for name in given.image]}


def _known(session: Session, chat: str, given: Namespace) -> list[Message]:
    """The conversation so far, under the newest system message."""
    known = [] if given.new else session.conversations.get(chat, [])
    if given.system is None:
        return known
    others = [message for message in known if message["role"] != "system"]
    return [{"role": "system", "content": given.system}, *others]


def _converse(
    client: Client,
    request: Mapping[str, Any],
    messages: list[Message],
    functions: Tools,
    rounds: int,
    answer: Answer,
) -> None:
    """Answers and calls in turn, put at the end of `messages`; an interrupt ends them.

    Raises `Failed` where the model goes on calling.
    """
    view = new_view()
    try:
        for _ in range(rounds):
            said = _stream(client, {**request, "messages": messages}, functions, answer, view)
            asked = answer.turns[-1].asked
            if not (asked and functions):
                messages += [said] if said["content"] else []
                return
            told = [_called(Call.of(one), functions, answer, view) for one in asked]
            messages += [said, *told]
            answer.turns.append(Turn())
        raise Failed(
            f"the model called functions in {rounds} answers and gave no other; "
            "--rounds N allows more"
        )
    except KeyboardInterrupt:
        answer.done_reason = INTERRUPTED
        if begun := answer.turns[-1].text:
            messages.append({"role": "assistant", "content": begun})
    finally:
        view.close(answer)


def _called(call: Call, functions: Tools, answer: Answer, view: View) -> Message:
    """What the model is told of a call, which is shown while it runs: it may take its time."""
    answer.turns[-1].calls.append(call)
    view.show(answer, at_once=True)
    tools.perform(call, functions)
    view.show(answer)
    return call.message


def _stream(
    client: Client, request: dict[str, Any], functions: Tools, answer: Answer, view: View
) -> Message:
    """One answer, shown as it comes; the message that it is."""
    try:
        with theirs():
            answered = client.chat(stream=True, tools=list(functions.values()) or None, **request)
    except Raised as error:  # nothing has been sent; the package reads signatures and annotations
        raise Misused(f"--tools: {error}") from error
    # Closing it ends the request, so that the server stops at once.
    with closing(cast("Generator[ChatResponse]", answered)) as parts:
        for part in parts:
            answer.add(part)
            view.show(answer)
    turn = answer.turns[-1]
    said: Message = {"role": "assistant", "content": turn.text}
    if turn.asked:
        said["tool_calls"] = [call.model_dump() for call in turn.asked]
    return said

"""A conversation with a model: what was said, how it is asked, and what is known of it."""

from dataclasses import dataclass, field, replace
from typing import Any

from ollmlx import names
from ollmlx.cli import media
from ollmlx.cli.answering import stream, summarise
from ollmlx.cli.connection import Connection, Document
from ollmlx.cli.running import Session, load
from ollmlx.cli.terminal import say
from ollmlx.errors import InvalidName, OllmlxError


@dataclass
class Conversation:
    connection: Connection
    session: Session
    loaded: list[Document]
    """Messages that the model brings: the server puts them before ours."""
    messages: list[Document] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    system: str = ""

    def replay(self) -> None:
        """Show the messages that the model brings."""
        for message in self.loaded:
            if message.get("role") == "user":
                say(f">>> {message.get('content', '')}")
            elif message.get("role") == "assistant":
                say(f"{message.get('content', '')}\n")

    def ask(self, text: str) -> None:
        """Say something, and show and keep the answer; one that is stopped is not kept.

        Raises `OllmlxError`; then nothing was said.
        """
        message: Document = {"role": "user", "content": text}
        if self.session.multimodal:
            message["content"], message["images"] = media.extract(text)
        self.messages.append(message)
        request = self.session.request(messages=self.messages, options=self.options)
        try:
            answer = stream(self.connection, "/api/chat", request, self.session.style)
        except OllmlxError:
            self.messages.pop()
            raise
        if answer is None:
            return
        say("\n")
        if self.session.style.verbose:
            summarise(answer.last)
        said = {"role": "assistant", "content": answer.text, "thinking": answer.thinking}
        self.messages.append(
            {key: value for key, value in said.items() if value or key != "thinking"}
        )

    def forget(self) -> None:
        """Everything but the system message."""
        self.messages = [{"role": "system", "content": self.system}] if self.system else []

    def instruct(self, text: str) -> None:
        """Set the system message from here on."""
        if self.messages and self.messages[-1]["role"] == "system":
            self.messages.pop()
        self.system = text
        self.messages.append({"role": "system", "content": text})

    def about(self) -> Document:
        """/api/show of the model as this conversation has changed it."""
        request = {"model": self.session.model, "system": self.system, "options": self.options}
        return self.connection.post("/api/show", request)

    def change_model(self, name: str) -> None:
        """Go on with another model, from the start.  Raises `Refused`; then nothing has changed."""
        name = names.from_here(name)
        about = self.connection.post("/api/show", {"model": name})
        session = replace(self.session, model=name)
        session.learn(about)
        load(self.connection, session)
        self.session, self.loaded, self.messages = session, about.get("messages") or [], []

    def save(self, name: str) -> None:
        """Make a model of the conversation.  Raises `OllmlxError`."""
        fields = {
            "system": self.system,
            "parameters": self.options,
            "messages": [*self.loaded, *self.messages],
        }
        given = {key: value for key, value in fields.items() if value}
        request = {"model": name, "from": self._parent() or self.session.model, **given}
        for _ in self.connection.stream("/api/create", request):
            pass

    def thinks(self) -> bool:
        """Whether the model can; true where the server does not say."""
        try:
            about = self.connection.post("/api/show", {"model": self.session.model})
        except OllmlxError:
            return True
        return "thinking" in (about.get("capabilities") or [])

    def _parent(self) -> str:
        try:
            return self.session.parent and names.parse(self.session.parent).display
        except InvalidName:
            return ""

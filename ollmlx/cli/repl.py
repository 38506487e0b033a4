"""The conversation on a terminal: a line is a message, a command, or part of a quotation."""

from collections.abc import Callable
from dataclasses import dataclass

from ollmlx.cli.connection import Connection, Document
from ollmlx.cli.conversation import Conversation
from ollmlx.cli.lines import History, LineEditor
from ollmlx.cli.running import Session
from ollmlx.cli.slash import QUOTE, SlashCommands
from ollmlx.cli.terminal import say
from ollmlx.errors import OllmlxError

_LEAVING = ("/bye", "/exit")


@dataclass
class Quotation:
    """A text between triple quotes that is still open."""

    use: Callable[[str], None]
    text: str = ""


class Repl:
    def __init__(self, conversation: Conversation) -> None:
        history = History.from_environment()
        self._conversation = conversation
        self._editor = LineEditor(history)
        self._slash = SlashCommands(
            conversation, history, lambda text: self._quote(text, self._slash.instruct)
        )
        self._quotation: Quotation | None = None

    def run(self) -> None:
        while True:
            try:
                line = self._editor.read(continued=self._quotation is not None)
            except EOFError:
                return
            except KeyboardInterrupt:
                say("Use Ctrl + d or /bye to exit.")
                self._quotation = None
                continue
            if self._quotation is None and line.startswith(_LEAVING):
                return
            try:
                self._take(line)
            except OllmlxError as error:  # the server may be back for the next line
                say(f"error: {error}")

    def _take(self, line: str) -> None:
        if self._quotation:
            self._gather(self._quotation, line)
        elif line.startswith(QUOTE):
            self._quote(line.removeprefix(QUOTE), self._ask)
        elif line.startswith("/") and "\n" not in line and self._slash.take(line):
            pass
        else:
            self._ask(line)

    def _quote(self, text: str, use: Callable[[str], None]) -> None:
        self._quotation = Quotation(use)
        self._gather(self._quotation, text)

    def _gather(self, quotation: Quotation, line: str) -> None:
        text = line.removesuffix(QUOTE)
        quotation.text += text
        if text == line:
            quotation.text += "\n"
            return
        self._quotation = None
        quotation.use(quotation.text)

    def _ask(self, text: str) -> None:
        if text:
            self._conversation.ask(text)


def converse(connection: Connection, session: Session, loaded: list[Document]) -> None:
    """Until the user leaves."""
    conversation = Conversation(connection, session, loaded)
    conversation.replay()
    Repl(conversation).run()

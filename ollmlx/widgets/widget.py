"""What all widgets of ours have in common: messages that never block, and a text for who shows no
widgets.
"""

from typing import Any

import httpx
from anywidget import AnyWidget
from ollama import ResponseError

from ollmlx.errors import OllmlxError, unwrapped
from ollmlx.widgets.background import Background

Said = dict[str, Any]
"""A message between the kernel and the page: JSON with a `kind`."""
TROUBLES = (OllmlxError, ResponseError, ConnectionError, httpx.HTTPError)
"""What a server, or its absence, does to a request."""


class Widget(AnyWidget):
    """Subclasses have the text of their JavaScript and of their style, and answer messages."""

    _esm: str
    _css: str

    def __init__(self) -> None:
        self._background = Background()  # first: `close` is called of what was half made, too
        super().__init__()
        self.on_msg(self._hear)

    def open(self) -> None:
        super().open()
        # ipykernel 7.4 sends what a page says to the thread that spoke last on the comm: to the one
        # that runs the cells, where it waits for them.  What the page has chosen is right.
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = lambda _said, chosen: chosen

    def _hear(self, _widget: object, said: Said, _buffers: object) -> None:
        self._background.run(self._answer_or_tell(said))

    async def _answer_or_tell(self, said: Said) -> None:
        try:
            await self.answer(said)
        except TROUBLES as error:
            self.tell(kind="error", text=words(error))

    async def answer(self, said: Said) -> None:
        """Do what a message of the page asks for; on the widget's own loop."""
        raise NotImplementedError

    def tell(self, **said: Any) -> None:
        """Send a message to every page that shows this widget.  Any thread."""
        self.send(said)

    def markdown(self) -> str:
        """What is shown where the widget is not, if there is anything."""
        raise NotImplementedError

    def close(self) -> None:
        self._background.close()
        super().close()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_() or ({}, {})
        name = type(self).__name__
        text = self.markdown() or f"*{name} of ollmlx: run the cell in a notebook to see it.*"
        return {**data, "text/plain": text, "text/markdown": text}, metadata


def words(error: BaseException) -> str:
    """An error for people."""
    refused = isinstance(error, httpx.ConnectError | ConnectionError)
    if refused and not isinstance(error, OllmlxError):
        # The ollama package's own words send people to ollama.com for a download.
        return "the server does not answer: is it running?"
    text = unwrapped(error.error) if isinstance(error, ResponseError) else str(error)
    return text or type(error).__name__

"""`ollmlx.Chat`: a conversation in the notebook, kept in the kernel and shown in the page."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, display

from ollmlx.client import AsyncClient, Client, check_options, default_model
from ollmlx.errors import OllmlxError
from ollmlx.widgets import modules
from ollmlx.widgets.conversation import Conversation, Reply, Turn
from ollmlx.widgets.pacing import Pacing
from ollmlx.widgets.widget import TROUBLES, Said, Widget, words


class NotInNotebook(OllmlxError):
    """There are no cells here."""


class Chat(Widget):
    """`model` may be left out: then a loaded one, or the first there is.

    With `compare`, a second model answers every question, too.  `options` are those of the API.
    Raises `UnknownOption`.
    """

    _esm, _css = modules.script("chat.js"), modules.style("chat.css")

    def __init__(
        self,
        model: str = "",
        *,
        compare: str = "",
        system: str = "",
        options: Mapping[str, Any] | None = None,
        think: bool | str | None = None,
        host: str | None = None,
    ) -> None:
        super().__init__()
        check_options(options)
        self.conversation = Conversation(system)
        self._models = [model, compare] if compare else [model]
        self._options, self._think, self._host = dict(options or {}), think, host
        self._installed: list[str] = []
        self._answering: set[asyncio.Task[None]] = set()
        self._kept: DisplayHandle | None = None

    # -- in Python --------------------------------------------------------------------------------

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What was said so far, for `ollmlx.chat(messages=…)`."""
        return self.conversation.messages()

    def markdown(self) -> str:
        return self.conversation.markdown()

    def to_cell(self) -> None:
        """A cell below this one with the conversation as Markdown.  Raises `NotInNotebook`."""
        shell = get_ipython()
        if shell is None:
            raise NotInNotebook("there is no notebook to put a cell into; see `markdown()`")
        shell.set_next_input(f"%%markdown\n{self.conversation.markdown()}")

    def _ipython_display_(self) -> None:
        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True)
        # The place where the conversation is kept when the page asks for it.
        # Not Markdown before: VS Code shows words of its own for one that is empty.
        self._kept = display({"text/plain": ""}, raw=True, display_id=True)

    # -- what the page asks for -------------------------------------------------------------------

    async def answer(self, said: Said) -> None:
        actions: dict[str, Callable[[Said], Awaitable[None]]] = {
            "hello": self._hello,
            "look": self._look,
            "configure": self._configure,
            "ask": self._ask,
            "regenerate": self._regenerate,
            "edit": self._edit,
            "stop": self._stop,
            "clear": self._clear,
            "restore": self._restore,
            "keep": self._keep,
        }
        await actions[said["kind"]](said)

    async def _hello(self, said: Said) -> None:
        """A page begins to show this."""
        self._tell_state()  # what is known already; the server may take its time
        await self._look(said)

    async def _look(self, _said: Said) -> None:
        """A page wants the names of models anew."""
        async with await self._client() as client:
            await self._look_up(client)
        self.tell(kind="settings", settings=self._settings())

    async def _look_up(self, client: AsyncClient) -> None:
        """The models there are, and one for who named none.  Raises `NoModel`."""
        self._installed = [model.model for model in (await client.list()).models if model.model]
        self._models[0] = self._models[0] or await asyncio.to_thread(_default, self._host)

    async def _configure(self, said: Said) -> None:
        first, second = said["models"]
        self._models = [first, second] if second else [first]
        self._options, self._think = said["options"], said["think"]
        self.conversation.system = said["system"]
        self.tell(kind="settings", settings=self._settings())

    async def _ask(self, said: Said) -> None:
        await self._stop(said)
        self.conversation.say(Turn(said["text"], said["images"]))
        await self._reply()

    async def _regenerate(self, said: Said) -> None:
        await self._stop(said)
        if self.conversation.turns:
            await self._reply()

    async def _edit(self, said: Said) -> None:
        """Another question in the place of one; what came after it goes."""
        await self._stop(said)
        turns = self.conversation.turns
        turn = turns[said["turn"]]
        turns[said["turn"] :] = [Turn(said["text"], turn.images)]
        await self._reply()

    async def _stop(self, _said: Said) -> None:
        """Returns when nothing is being answered any more."""
        tasks = list(self._answering)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _clear(self, said: Said) -> None:
        await self._stop(said)
        self.conversation.clear()
        self._tell_state()

    async def _restore(self, _said: Said) -> None:
        self.conversation.restore()
        self._tell_state()

    async def _keep(self, _said: Said) -> None:
        text = self.conversation.markdown()
        if self._kept is None:
            self.tell(kind="error", text="show this chat in a cell of its own to keep it there")
            return
        self._kept.update({"text/plain": text, "text/markdown": text}, raw=True)
        self.tell(kind="notice", text="kept below as Markdown")

    # -- answering --------------------------------------------------------------------------------

    async def _reply(self) -> None:
        """Let every model answer the last question, all at the same time."""
        conversation = self.conversation
        turn = conversation.turns[-1]
        turn.replies = []
        asked = [conversation.messages(side) for side in range(len(self._models))]
        turn.replies = [Reply(model) for model in self._models]
        self._tell_state(len(conversation.turns) - 1, busy=True)
        tasks = {
            asyncio.create_task(self._one(side, reply, messages))
            for side, (reply, messages) in enumerate(zip(turn.replies, asked, strict=True))
        }
        self._answering |= tasks
        await asyncio.wait(tasks)
        self._answering -= tasks
        if not self._answering:
            self.tell(kind="idle", markdown=conversation.markdown())

    async def _one(self, side: int, reply: Reply, messages: list[dict[str, Any]]) -> None:
        turn = len(self.conversation.turns) - 1

        def send(text: str, thinking: str) -> None:
            reply.text += text
            reply.thinking += thinking
            self.tell(kind="delta", turn=turn, side=side, text=text, thinking=thinking)

        pacing = Pacing(send)
        try:
            await self._stream(reply, messages, pacing)
        except asyncio.CancelledError:
            reply.end("stopped")
        except TROUBLES as error:
            reply.end("error")
            reply.error = words(error)
        finally:
            pacing.flush()
            facts = {key: value for key, value in vars(reply).items() if key != "text"}
            self.tell(kind="end", turn=turn, side=side, reply=facts)

    async def _stream(self, reply: Reply, messages: list[dict[str, Any]], pacing: Pacing) -> None:
        async with await self._client() as client:
            if not reply.model:  # asked before the models were known
                await self._look_up(client)
                reply.model = self._models[0]
            stream: Any = await client.chat(
                reply.model,
                messages,
                stream=True,
                think=self._think,
                options=self._options,
            )
            async with aclosing(stream) as parts:
                async for part in parts:
                    reply.tokens += 1
                    pacing.add(part.message.content or "", part.message.thinking or "")
                    if part.done:
                        reply.end(part.done_reason or "stop", part.eval_count, part.eval_duration)

    async def _client(self) -> AsyncClient:
        """Looked for anew each time: a server may have been started since, or again."""
        return await asyncio.to_thread(AsyncClient, self._host)

    # -- what the page is told --------------------------------------------------------------------

    def _settings(self) -> Said:
        return {
            "models": self._models,
            "installed": self._installed,
            "system": self.conversation.system,
            "options": self._options,
            "think": self._think,
        }

    def _tell_state(self, since: int = 0, busy: bool | None = None) -> None:
        """The turns from one on; pages have those before it."""
        self.tell(
            kind="state",
            since=since,
            turns=[turn.shown for turn in self.conversation.turns[since:]],
            cleared=bool(self.conversation.cleared),
            settings=self._settings(),
            busy=bool(self._answering) if busy is None else busy,
            markdown=self.conversation.markdown(),
        )


def _default(host: str | None) -> str:
    with Client(host) as client:
        return default_model(client)

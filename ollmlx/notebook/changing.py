"""`%ollmlx pull`, `rm`, `load`, `stop`, `use`, `quantize`, `reset`: what is made different."""

import time
from argparse import Namespace
from collections.abc import Iterable

from ollama import ProgressResponse, ResponseError

from ollmlx.batch.progress import drawn, duration, new_bar
from ollmlx.client import Client, writes
from ollmlx.notebook.errors import Interrupted, Misused
from ollmlx.notebook.listing import size
from ollmlx.notebook.saying import say
from ollmlx.notebook.session import Session

_NOT_FOUND = 404
_WINDOW_SECONDS = 5.0
"""Over which the speed of a download is taken: it changes, and stalls."""


def pull(session: Session, given: Namespace) -> None:
    with Client() as client:
        for model in given.models:
            try:
                frames = client.pull(model, insecure=given.insecure, stream=True)
                _follow(f"pulling {model}", frames)
            except KeyboardInterrupt:
                raise Interrupted(
                    f"stopped pulling {model}; what has come is kept, the same again goes on"
                ) from None


def remove(session: Session, given: Namespace) -> None:
    with Client() as client:
        for model in given.models:
            # As Ollama's own command does: what is deleted while loaded cannot be named any more.
            _unload(client, model)
            client.delete(model)
            say(f"deleted {model}")


def load(session: Session, given: Namespace) -> None:
    with Client() as client:
        if writes(client, given.model):
            client.generate(model=given.model, prompt="", keep_alive=given.keep_alive)
            session.model = given.model
        else:
            client.embed(given.model, [], keep_alive=given.keep_alive)
    say(f"loaded {given.model}")


def stop(session: Session, given: Namespace) -> None:
    with Client() as client:
        if given.model:
            _unload(client, given.model)
            return
        for model in client.ps().models:
            try:
                _unload(client, model.model or "")
            except ResponseError as error:
                if error.status_code != _NOT_FOUND:
                    raise
                say(f"{model.model} was deleted; it leaves memory when its time is over")


def use(session: Session, given: Namespace) -> None:
    with Client() as client:
        client.show(given.model)
    session.model = given.model


def quantize(session: Session, given: Namespace) -> None:
    target = given.target or _quantized(given.model, given.level)
    with Client() as client:
        frames = client.create(target, from_=given.model, quantize=given.level, stream=True)
        try:
            _follow(f"quantising {given.model}", frames)
        except KeyboardInterrupt:
            raise Interrupted(f"stopped; there is no {target}") from None
    say(f"made {target}")


def reset(session: Session, given: Namespace) -> None:
    if not given.name:
        session.conversations.clear()
    elif session.conversations.pop(given.name, None) is None:
        raise Misused(f"no conversation is called {given.name}; %ollmlx chats lists them")


def _unload(client: Client, model: str) -> None:
    client.generate(model=model, prompt="", keep_alive=0)


def _quantized(model: str, level: str) -> str:
    """`llama3.2:1b` and `q4_K_M` → `llama3.2:1b-q4_K_M`."""
    return f"{model}-{level}" if ":" in model else f"{model}:{level}"


def _follow(what: str, frames: Iterable[ProgressResponse]) -> None:
    """Show how far a pull or create is until it has ended."""
    bar, transfer = new_bar(), _Transfer()
    status = ""
    try:
        for frame in frames:
            status = frame.status or status
            transfer.see(frame)
            bar.show(transfer.drawn(what) if frame.total else f"{what}: {status}")
    finally:
        bar.show(f"{what}: {status}".removesuffix(": "), final=True)


class _Transfer:
    """All layers of a model together."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}
        self._samples: list[tuple[float, int]] = []

    def see(self, frame: ProgressResponse) -> None:
        if frame.digest and frame.total:
            self._layers[frame.digest] = (frame.completed or 0, frame.total)
            now = time.monotonic()
            recent = [s for s in self._samples if now - s[0] < _WINDOW_SECONDS]
            self._samples = [*recent, (now, self._completed)]

    @property
    def _completed(self) -> int:
        return sum(done for done, _ in self._layers.values())

    def drawn(self, what: str) -> str:
        done, total = self._completed, sum(total for _, total in self._layers.values())
        words = f"{what}: {size(done)} of {size(total)}"
        (begun, before), (now, after) = self._samples[0], self._samples[-1]
        if now > begun and after > before:
            rate = (after - before) / (now - begun)
            words += f", {size(int(rate))}/s, {duration((total - done) / rate)} left"
        return drawn(done / total, words)

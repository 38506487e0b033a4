"""What happens in the engine room, told to whoever listens: models that come and go, answers that
end.

Never a word of a prompt or of an answer.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

Kind = Literal[
    "model_loaded",
    "model_load_failed",
    "model_unloaded",
    "request_finished",
    "model_pulled",
    "model_pushed",
    "model_created",
    "model_copied",
    "model_deleted",
    "job_changed",
]


class Happening(Struct, frozen=True):
    kind: Kind
    model: str
    facts: dict[str, str | int | float] = {}


Listener = Callable[[Happening], None]


class News:
    """Tells on the loop of the engine room; a listener returns at once and raises nothing."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """What ends it again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, kind: Kind, model: str, **facts: str | int | float) -> None:
        happening = Happening(kind, model, facts)
        for listener in list(self._listeners):
            listener(happening)

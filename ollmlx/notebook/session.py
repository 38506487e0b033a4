"""What the magics remember for one kernel."""

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Message = dict[str, Any]


class Ends(Protocol):
    """A server that was started here."""

    def end(self) -> None: ...


@dataclass
class Session:
    variables: MutableMapping[str, Any]
    """The notebook's own."""
    model: str = ""
    """For cells that name none."""
    conversations: dict[str, list[Message]] = field(default_factory=dict)
    """By the name given, or else that of the model."""
    server: Ends | None = None

    def close(self) -> None:
        if self.server:
            self.server.end()
            self.server = None

"""What every operation works with."""

from dataclasses import dataclass
from typing import Protocol

from ollmlx.engine.pool import Pool
from ollmlx.settings import Settings
from ollmlx.store.model import Model


class Models(Protocol):
    """The installed models, as `store.library.Library` has them.  Both block: call them in a
    thread.
    """

    def find(self, name: str) -> Model:
        """Raises `InvalidName` or `NotFound`."""

    def list(self) -> list[Model]:
        """Newest first."""


@dataclass(frozen=True)
class Engine:
    settings: Settings
    library: Models
    pool: Pool

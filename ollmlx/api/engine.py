"""What every operation works with."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from ollmlx.api.jobs import Jobs
from ollmlx.api.responses.kept import Kept
from ollmlx.api.sharing import Sharing
from ollmlx.engine.news import News
from ollmlx.engine.pool import Pool
from ollmlx.settings import Settings
from ollmlx.store.jobfiles import JobFiles
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
    sharing: Sharing = field(default_factory=Sharing)
    """Downloads under way."""

    @property
    def news(self) -> News:
        return self.pool.news

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self.news, JobFiles(self.settings.models))

    @cached_property
    def prompts(self) -> ThreadPoolExecutor:
        """Where templates run: one may take seconds before it is refused.  Threads of its own, for
        all else that blocks goes on meanwhile, and few, for they take turns with the event loop.
        """
        return ThreadPoolExecutor(2, "prompts")

    @cached_property
    def responses(self) -> Kept:
        return Kept()


@dataclass(frozen=True)
class Upload:
    """A request with a body too large to hold."""

    parameter: str
    """The rest of the path."""
    chunks: AsyncIterator[bytes]

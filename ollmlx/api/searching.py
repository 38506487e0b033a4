"""What there is to pull: the table of short names, and the Hugging Face hub's own search."""

import asyncio
from collections.abc import Iterable

from ollmlx.api.answers import Answer, Whole
from ollmlx.api.engine import Engine
from ollmlx.errors import BadRequest
from ollmlx.store.places.shortnames import SHORT_NAMES, ShortName
from ollmlx.store.transfer.hub import Hub, HubRefused, Repository
from ollmlx.wire import live

MOST = 100


async def search(engine: Engine, request: live.SearchRequest) -> Answer:
    """Short names always; with a query, the hub as well."""
    if not 1 <= request.limit <= MOST:
        raise BadRequest(f"limit must be between 1 and {MOST}")
    words = request.q.split()
    found = [_curated(short) for short in SHORT_NAMES if _matches(short, words)]
    error = ""
    if words:
        try:
            repositories = await asyncio.to_thread(_on_the_hub, " ".join(words), request.limit)
            found += map(_published, repositories)
        except HubRefused as refusal:
            error = str(refusal)
    return Whole(live.SearchResponse(found[: request.limit], error))


def _matches(short: ShortName, words: Iterable[str]) -> bool:
    text = f"{short.name} {short.repository}".lower()
    return all(word.lower() in text for word in words)


def _on_the_hub(text: str, limit: int) -> list[Repository]:
    """Raises `HubRefused`."""
    return Hub().search(text, limit)


def _curated(short: ShortName) -> live.Found:
    return live.Found(
        name=short.name,
        source="curated",
        format="mlx",
        parameters=short.parameters,
        size=int(short.download * 1e9),
        downloads=0,
        likes=0,
        updated_at="",
        gated=False,
    )


def _published(repository: Repository) -> live.Found:
    mlx = repository.format == "mlx" and repository.name.startswith("mlx-community/")
    return live.Found(
        name=repository.name if mlx else f"hf.co/{repository.name}",
        source="hub",
        format=repository.format,
        parameters="",
        size=0,
        downloads=repository.downloads,
        likes=repository.likes,
        updated_at=repository.updated_at,
        gated=repository.gated,
    )

"""A server for batches to ask."""

from collections.abc import Iterator

import pytest

from tests.stand_in import StandIn, standing_in


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Found by OLLMLX_HOST."""
    with standing_in() as stand_in:
        monkeypatch.setenv("OLLMLX_HOST", stand_in.url)
        yield stand_in

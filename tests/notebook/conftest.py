"""A server to talk to, and a shell that talks."""

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell

from tests.stand_in import StandIn, standing_in


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Kernels and shells started in a test find it by OLLMLX_HOST."""
    with standing_in() as stand_in:
        monkeypatch.setenv("OLLMLX_HOST", stand_in.url)
        yield stand_in


@pytest.fixture
def shell(server: StandIn) -> Iterator[InteractiveShell]:
    """An IPython shell of this process, with the extension loaded; it shows plain text."""
    made = InteractiveShell.instance()
    made.run_line_magic("load_ext", "ollmlx")
    yield made
    InteractiveShell.clear_instance()

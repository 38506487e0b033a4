"""Which tests stay together when several processes run them, for `pytest -p tests.groups -n …`.

Those of a file share what its fixtures set up, the cells of a notebook need those before them, and
the table of clients is made of what all their tests saw.
"""

from pathlib import Path

import pytest

CLIENTS = Path(__file__).parent / "clients"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = CLIENTS if item.path.is_relative_to(CLIENTS) else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))

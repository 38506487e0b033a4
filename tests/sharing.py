"""Which tests stay together when several processes share them, for `pytest -p tests.sharing -n …`.

Those of a file share what its fixtures set up, the cells of a notebook need those before them, and
the table of clients is made of what all their tests saw.  The scheduler is told, as pytest-xdist's
marks do not reach the cells of nbval.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

CLIENTS = "tests/clients"


class ByFile(LoadScopeScheduling):
    """Gives each process whole files."""

    def _split_scope(self, nodeid: str) -> str:
        return CLIENTS if nodeid.startswith(f"{CLIENTS}/") else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)

"""Which tests stay together when several processes share them, and which come first, for
`pytest -p tests.sharing -n …`.

Those of a file share what its fixtures set up, the cells of a notebook need those before them, the
table of clients is made of what all their tests saw, and widgets' pages share a browser.  The
scheduler is told, as pytest-xdist's marks do not reach the cells of nbval.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

TOGETHER = ("tests/clients", "tests/widgets/pages")
LONGEST = (
    *TOGETHER,
    "tests/jupyter_ext/test_lab.py",
    "tests/api/test_creating_mlx.py",
    "tests/engine/test_mlx_vision.py",
    "tests/api/test_images.py",
    "tests/api/test_killed.py",
    "notebooks/01-first-chat.ipynb",
)
"""They begin first, so that none of them is left alone at the end."""


class ByFile(LoadScopeScheduling):
    """Gives each process whole files."""

    def _split_scope(self, nodeid: str) -> str:
        folders = (folder for folder in TOGETHER if nodeid.startswith(f"{folder}/"))
        return next(folders, nodeid.partition("::")[0])

    def _assign_work_unit(self, node: WorkerController) -> None:
        if longest := next(filter(self.workqueue.__contains__, LONGEST), None):
            self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)

"""One Jupyter server and one browser for all tests of widgets; a notebook for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.jupyter_ext.process import Server, serving
from tests.widgets.browser import Notebook, chromium, install

TOKEN = "a-token"
SETTINGS = {
    "ServerApp": {
        "ip": "127.0.0.1",
        "port": 0,
        "open_browser": False,
        "allow_root": True,
        "jpserver_extensions": {
            "jupyter_ext": False,
            "tests.widgets.echoing": True,
            "jupyterlab": True,
            "notebook": True,
        },
    },
    "LabApp": {"expose_app_in_browser": True},
    "JupyterNotebookApp": {"expose_app_in_browser": True},
    "IdentityProvider": {"token": TOKEN},
    "OllmlxApp": {"open_door": False},
}


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jupyter")


@pytest.fixture(scope="package")
def jupyter(folder: Path) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OLLAMA_MODELS", str(folder / "models"))
        environment.setenv("OLLMLX_EMBEDDED", "false")
        front_end = {"extra_labextensions_path": [str(install(folder / "extensions"))]}
        apps = {app: SETTINGS[app] | front_end for app in ("LabApp", "JupyterNotebookApp")}
        with serving(folder, SETTINGS | apps) as server:
            yield server


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="package")
def context(browser: Browser) -> BrowserContext:
    """One for all notebooks: it reads JupyterLab once."""
    return browser.new_context(viewport={"width": 1100, "height": 900})


@pytest.fixture(scope="module")
def notebook(context: BrowserContext, jupyter: Server) -> Iterator[Notebook]:
    """Whose page said nothing in the console."""
    opened = Notebook(context.new_page(), jupyter, TOKEN)
    yield opened
    opened.end()
    assert opened.errors == []

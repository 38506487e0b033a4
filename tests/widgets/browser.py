"""A notebook in a real browser: cells that are run, and everything that its console said."""

import json
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    expect,
    sync_playwright,
)

from tests.jupyter_ext.process import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ROOT = Path(__file__).parents[2]
PLACE = "share/jupyter/labextensions/"
PATIENCE_MS = 60_000
NOT_OURS = ("favicon", "Failed to load resource", "ResizeObserver", "widget model not found")
"""What JupyterLab itself says in the console."""
HARD_TO_READ = """() => {
  const point = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const laid = (colours) => {
    point.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      point.fillStyle = colour;
      point.fillRect(0, 0, 1, 1);
    }
    return [...point.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (colour) => {
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [red, green, blue] = colour.map((part) => linear(part / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const found = [];
  for (const element of document.querySelectorAll(".ollmlx *")) {
    const own = [...element.childNodes].filter(({ nodeType }) => nodeType === Node.TEXT_NODE);
    const text = own.map(({ data }) => data).join("").trim();
    if (!text || !element.checkVisibility() || element.matches(":disabled, option")) continue;
    const grounds = [];
    for (let node = element; node; node = node.parentElement) {
      grounds.unshift(getComputedStyle(node).backgroundColor);
    }
    const ground = luminance(laid(grounds));
    const ink = luminance(laid([...grounds, getComputedStyle(element).color]));
    const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    if (ratio < 4.5) found.push([text, ratio.toFixed(2)]);
  }
  return found;
}"""
"""Texts of widgets with less contrast than 4.5, WCAG's least (1.4.3), of what can be used."""
_SHOWN = "window.jupyterapp.shell.currentWidget"


def install(folder: Path) -> Path:
    """Put what an installation puts into the folder of JupyterLab's extensions into this one."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    for source, target in build["targets"]["wheel"]["shared-data"].items():
        if target.startswith(PLACE):
            shutil.copytree(ROOT / source, folder / target.removeprefix(PLACE), dirs_exist_ok=True)
    return folder


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's; the test is skipped where there is none."""
    if not CHROMIUM:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Notebook:
    """One notebook that is open in a page."""

    def __init__(self, page: Page, server: Server, token: str) -> None:
        self.page, self.server, self.token = page, server, token
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._hear)
        page.on("pageerror", self._fail)

    @property
    def url(self) -> str:
        return self.server.note["mount"].removesuffix("/ollama")

    def open(self, folder: Path, name: str, *cells: str, app: str = "lab") -> None:
        """Write a notebook and open it in `lab` or in Notebook 7 (`notebooks`)."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, folder / name)
        place = f"lab/tree/{name}?reset" if app == "lab" else f"notebooks/{name}"
        mark = "&" if "?" in place else "?"
        self.page.goto(f"{self.url}/{place}{mark}token={self.token}")
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.context?.isReady"
        )
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.context.sessionContext.ready"
        )

    def command(self, name: str, **arguments: Any) -> None:
        self.page.evaluate(
            "([name, given]) => window.jupyterapp.commands.execute(name, given)", [name, arguments]
        )

    def run(self, cell: int) -> None:
        """The cell of that number, from 1; returns when it has run."""
        self._select(cell)
        self.command("notebook:run-cell")

    def begin(self, cell: int) -> None:
        """Run a cell, and return when it runs."""
        self._select(cell)
        self._begin("notebook:run-cell")
        expect(self.prompt(cell)).to_have_text("[*]:")

    def begin_all(self) -> None:
        """Have all cells stand in line."""
        self._begin("notebook:run-all-cells")

    def _begin(self, command: str) -> None:
        self.page.evaluate(f"() => {{ window.jupyterapp.commands.execute('{command}'); }}")

    def prompt(self, cell: int) -> Locator:
        """Beside a cell: `[*]:` while it runs.  The kernel's own status tells of widgets, too."""
        return self.page.locator(".jp-Cell .jp-InputPrompt").nth(cell - 1)

    def interrupt(self, cell: int) -> None:
        """End a cell that runs."""
        self.command("notebook:interrupt-kernel")
        expect(self.prompt(cell)).not_to_have_text("[*]:")

    def _select(self, cell: int) -> None:
        self.page.evaluate(f"() => {{ {_SHOWN}.content.activeCellIndex = {cell - 1}; }}")

    def restart(self) -> None:
        """Restart the kernel, without the question that the menu asks."""
        self.page.evaluate(f"() => {_SHOWN}.context.sessionContext.session.kernel.restart()")

    def shut_down(self) -> None:
        self.page.evaluate(f"() => {_SHOWN}.context.sessionContext.shutdown()")

    def sources(self) -> list[list[str]]:
        """Type and text of each cell."""
        cells = f"{_SHOWN}.content.model.sharedModel.cells"
        found: list[list[str]] = self.page.evaluate(
            f"() => {cells}.map((cell) => [cell.cell_type, cell.source])"
        )
        return found

    def widget(self, kind: str) -> Locator:
        return self.page.locator(f".{kind}")

    def theme(self, name: str) -> None:
        self.command("apputils:change-theme", theme=name)
        light = json.dumps(name == "JupyterLab Light").lower()
        self.page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")

    def end(self) -> None:
        """Stop the kernels, which would live on without the page, and the models."""
        headers = {"Authorization": f"token {self.token}"}
        ours = f"{self.server.note['mount']}/api/ollmlx"
        with httpx.Client(base_url=self.url, headers=headers, trust_env=False) as http:
            for session in http.get("/api/sessions").json():
                http.delete(f"/api/sessions/{session['id']}")
            for model in http.get(f"{ours}/running").json()["models"]:
                http.post(f"{ours}/unload", json={"model": model["name"], "now": True})
        self.page.close()

    def _fail(self, error: Error) -> None:
        """Notebook 7 throws two errors of its own while it loads, with and without widgets."""
        stack = error.stack or str(error)
        if "/static/notebook/" not in stack or "blob:" in stack:
            self.errors.append(stack)

    def _hear(self, message: ConsoleMessage) -> None:
        text = message.text
        if message.type == "error" and not any(words in text for words in NOT_OURS):
            self.errors.append(text)

"""JupyterLab and Notebook 7 with the files that the wheel brings, in a real browser."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from ollmlx import __version__
from tests.jupyter_ext.process import Server, serving
from tests.misbehaving import misbehaving
from tests.widgets.browser import ROOT, Notebook, chromium, install

TOKEN = "a-token"
MODULES = [*ROOT.glob("jupyter_ext/lab/*.js"), *ROOT.glob("ollmlx/widgets/front/*.js")]

FORGETTING = """
new MutationObserver((_, observer) => {
  const config = document.getElementById("jupyter-config-data");
  if (!config?.textContent) return;
  observer.disconnect();
  config.textContent = config.textContent.replace("ollmlxPrefix", "nobody");
}).observe(document, { childList: true, subtree: true });
"""
"""The page as a server without ollmlx writes it."""


@pytest.fixture
def jp_asyncio_loop() -> None:
    """None: pytest-jupyter would close the loop that playwright runs on."""


@pytest.fixture
def jp_server_cleanup() -> None:
    """Nothing: the Jupyter server here is another process."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def installed(folder: Path) -> Path:
    return install(folder / "extensions")


@pytest.fixture(scope="module")
def jupyter(folder: Path, installed: Path) -> Iterator[Server]:
    front_end = {"expose_app_in_browser": True, "extra_labextensions_path": [str(installed)]}
    extensions = ("tests.widgets.echoing", "jupyterlab", "notebook")
    settings = {
        "ServerApp": {
            "ip": "127.0.0.1",
            "port": 0,
            "open_browser": False,
            "allow_root": True,
            "base_url": "/user/ann/",
            "jpserver_extensions": {"jupyter_ext": False, **dict.fromkeys(extensions, True)},
        },
        "LabApp": front_end,
        "JupyterNotebookApp": front_end,
        "IdentityProvider": {"token": TOKEN},
        "OllmlxApp": {"mount_prefix": "llm"},
    }
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OLLAMA_MODELS", str(folder / "models"))
        environment.setenv("OLLMLX_EMBEDDED", "false")
        with serving(folder, settings) as server:
            yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    """One for all tests: it reads JupyterLab once."""
    with chromium() as started:
        yield started.new_context(viewport={"width": 1200, "height": 800})


class Lab(Notebook):
    """The front ends, and all that they asked of anybody."""

    def __init__(self, page: Page, server: Server) -> None:
        super().__init__(page, server, TOKEN)
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))

    @property
    def url(self) -> str:
        return self.server.note["mount"].removesuffix("/llm")

    def visit(self, place: str) -> None:
        # `reset`: without the workspace that the test before has left.
        self.page.goto(f"{self.url}/{place}?reset&token={TOKEN}")
        self.page.wait_for_function("() => window.jupyterapp?.restored")
        self.page.evaluate("() => window.jupyterapp.restored")
        if place == "lab":  # the launcher takes the focus when it has come
            self.page.wait_for_function("() => document.activeElement.closest('.jp-Launcher')")


@pytest.fixture
def lab(browser: BrowserContext, jupyter: Server) -> Iterator[Lab]:
    """Whose page said nothing in the console, and asked nobody else for anything."""
    page = browser.new_page()
    opened = Lab(page, jupyter)
    yield opened
    opened.end()
    assert opened.errors == []
    local = (opened.url, "data:", "blob:")
    assert [address for address in opened.asked if not address.startswith(local)] == []


@pytest.fixture(scope="module")
def server(jupyter: Server) -> Iterator[httpx.Client]:
    """The same server, for somebody else."""
    headers = {"Authorization": f"token {TOKEN}"}
    mount = jupyter.note["mount"]
    with httpx.Client(base_url=mount, headers=headers, trust_env=False, timeout=20) as http:
        yield http


def test_a_model_is_loaded_and_unloaded_in_the_panel_by_keyboard(lab: Lab):
    lab.visit("lab")
    lab.command("ollmlx:open")
    panel, keys = lab.page.locator("#ollmlx-models"), lab.page.keyboard
    expect(panel.get_by_text("Copy endpoint")).to_be_focused()
    status = lab.page.locator(".ollmlx-status button")
    expect(status).to_have_text("no model loaded")
    panel.get_by_role("button", name="Load echo:latest").press("Enter")
    expect(panel.get_by_text("Fits in memory.")).to_be_visible()
    panel.get_by_role("group").get_by_role("button", name="Load").press("Enter")
    expect(panel.get_by_role("list", name="Running models")).to_contain_text("echo:latest")
    expect(status).to_have_text(re.compile(r"^echo:latest · \d+ .?B$"))
    panel.get_by_role("button", name="Unload echo:latest").focus()
    keys.press("Space")
    expect(status).to_have_text("no model loaded")


def test_whether_a_model_fits_is_asked_when_it_comes_into_sight(lab: Lab):
    lab.page.set_viewport_size({"width": 1200, "height": 200})
    lab.visit("lab")
    lab.command("ollmlx:open")
    rows = lab.page.get_by_role("list", name="Installed models").get_by_role("listitem")
    expect(rows).to_have_count(3)
    lab.page.evaluate(
        "() => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)))"
    )
    assert not any("/estimate" in address for address in lab.asked)
    rows.first.scroll_into_view_if_needed()
    expect(rows.first).to_contain_text("fits")


def test_the_status_bar_follows_what_others_do_and_opens_the_panel(lab: Lab, server: httpx.Client):
    lab.visit("lab")
    status = lab.page.locator(".ollmlx-status button")
    expect(status).to_have_text("no model loaded")
    assert not any("manager.css" in address for address in lab.asked)
    server.post("/api/generate", json={"model": "parrot", "prompt": "hello"}).raise_for_status()
    expect(status).to_contain_text("parrot:latest")
    status.press("Enter")
    panel = lab.page.locator("#ollmlx-models")
    expect(panel.get_by_role("list", name="Running models")).to_contain_text("parrot:latest")
    lab.command("ollmlx:unload")
    expect(status).to_have_text("no model loaded")


def test_a_page_that_is_not_seen_holds_no_connection(lab: Lab, server: httpx.Client):
    lab.visit("lab")
    expect(lab.page.locator(".ollmlx-status button")).to_have_text("no model loaded")
    hidden = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
    seen = "document.dispatchEvent(new Event('visibilitychange'))"
    with lab.page.expect_event("requestfailed", lambda request: "events" in request.url):
        lab.page.evaluate(f"() => {{ {hidden % 'true'}; {seen} }}")
    server.post("/api/generate", json={"model": "parrot", "prompt": ""}).raise_for_status()
    expect(lab.page.locator(".ollmlx-status button")).to_have_text("no model loaded")
    lab.page.evaluate(f"() => {{ {hidden % 'false'}; {seen} }}")
    expect(lab.page.locator(".ollmlx-status button")).to_contain_text("parrot:latest")
    server.post("/api/ollmlx/unload", json={"model": "parrot"}).raise_for_status()


def test_a_pull_is_watched_paused_and_cancelled_without_a_kernel(lab: Lab):
    with misbehaving() as registry:
        registry.add("me/m", "1", {"model_format": "gguf"}, model=bytes(3 << 20))
        registry.seconds_per_mib = 60  # a slow browser has to find it under way
        lab.visit("lab")
        lab.command("ollmlx:open")
        panel = lab.page.locator("#ollmlx-models")
        panel.get_by_label("Search for models").fill(f"http://{registry.host}/me/m:1")
        panel.get_by_role("button", name="Pull the model of this name").press("Enter")
        jobs, status = panel.get_by_role("list", name="Jobs"), lab.page.locator(".ollmlx-status")
        expect(status).to_contain_text(re.compile(r"me/m:1 \d+ %"))
        jobs.get_by_role("button", name="Pause").press("Enter")
        expect(jobs).to_contain_text("paused")
        expect(status).to_have_text("no model loaded")
        jobs.get_by_role("button", name="Cancel").press("Enter")
        panel.get_by_role("button", name="Yes, cancel it").press("Enter")
        expect(jobs.get_by_role("listitem")).to_have_count(0)


def test_a_lost_connection_is_told_and_found_again(lab: Lab):
    lab.visit("lab")
    lab.command("ollmlx:open")
    status, panel = lab.page.locator(".ollmlx-status button"), lab.page.locator("#ollmlx-models")
    expect(status).to_have_text("no model loaded")
    lab.page.route("**/events?*", lambda route: route.abort())
    lab.page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    expect(status).to_have_text("ollmlx: no connection")
    expect(panel.get_by_text("The Jupyter server does not answer.")).to_be_visible()
    usable = panel.locator("section:not([inert])")
    expect(usable).to_have_count(0)
    lab.page.unroute("**/events?*")
    expect(status).to_have_text("no model loaded")
    expect(panel.get_by_text("The Jupyter server does not answer.")).not_to_be_visible()
    expect(usable).to_have_count(4)


def test_before_the_server_answers_nothing_is_said_of_models(lab: Lab):
    lab.page.route("**/events?*", lambda route: route.abort())
    lab.visit("lab")
    lab.command("ollmlx:open")
    panel = lab.page.locator("#ollmlx-models")
    expect(panel.get_by_text("The Jupyter server does not answer.")).to_be_visible()
    assert not any(text.is_visible() for text in panel.get_by_text("No model is").all())


def test_the_launcher_opens_a_chat_that_runs(lab: Lab):
    lab.visit("lab")
    lab.page.locator(".jp-LauncherCard", has_text="Local chat").click()
    chat = lab.page.locator(".ollmlx-chat")
    expect(chat.get_by_role("textbox")).to_be_visible()
    lab.theme("JupyterLab Dark")
    ground = chat.evaluate("element => getComputedStyle(element).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", ground)[:3])) < 3 * 64


def test_the_palette_knows_the_commands(lab: Lab):
    lab.visit("lab")
    lab.command("apputils:activate-command-palette")
    for label in ("Unload all local models", "Copy the address of the Ollama API"):
        lab.page.locator(".lm-CommandPalette input").fill(label)
        expect(lab.page.locator(".lm-CommandPalette-item")).to_contain_text([label])


def test_names_and_refusals_are_shown_as_text(lab: Lab):
    lab.visit("lab")
    lab.command("ollmlx:open")
    panel = lab.page.locator("#ollmlx-models")
    expect(panel.get_by_text("<img src=x")).to_be_visible()
    panel.get_by_label("Search for models").fill("<img src=x onerror=document.title='owned'>")
    panel.get_by_role("button", name="Pull the model of this name").press("Enter")
    expect(panel.locator(".ollmlx-error").first).to_contain_text("invalid model name")
    assert panel.locator("img").count() == 0
    assert "owned" not in lab.page.title()


def test_notebook_7_has_the_panel_and_runs_the_chat_in_a_page_of_its_own(lab: Lab):
    lab.visit("tree")
    with lab.page.expect_popup() as opened:
        lab.command("ollmlx:chat")
    page = opened.value
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context?.isReady")
    expect(page.locator(".ollmlx-chat").get_by_role("textbox")).to_be_visible()
    page.evaluate("() => window.jupyterapp.commands.execute('ollmlx:open')")
    models = page.locator("#ollmlx-models").get_by_role("list", name="Installed models")
    expect(models).to_contain_text("echo:latest")
    page.close()


def test_a_server_without_ollmlx_says_how_to_switch_it_on(lab: Lab):
    lab.page.add_init_script(FORGETTING)
    lab.visit("lab")
    lab.command("ollmlx:open")
    panel = lab.page.locator("#ollmlx-models")
    expect(panel.get_by_role("alert")).to_contain_text("jupyter server extension enable")
    assert lab.page.locator(".ollmlx-status").count() == 0
    assert not any("/api/ollmlx" in address for address in lab.asked)


def test_the_extension_is_of_this_version_and_lies_where_browsers_ask_again(installed: Path):
    described = json.loads((installed / "ollmlx" / "package.json").read_text())
    assert described["version"] == __version__
    # JupyterLab lets browsers keep what is below a folder `static` for a year.
    assert not [path for path in installed.rglob("*") if path.name == "static"]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_what_a_module_imports_is_there_when_it_is_installed(module: Path, installed: Path):
    part = "front" if module.parent.name == "front" else ""
    place = installed / "ollmlx" / part
    named = re.findall(r'(?:from|import\() ?"(\./[^"]+)"', module.read_text())
    assert [name for name in named if not (place / name).is_file()] == []

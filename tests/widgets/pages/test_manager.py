"""`ollmlx.ModelManager` in JupyterLab, with a registry whose pace the tests set."""

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, expect

from tests.misbehaving import Misbehaving, misbehaving
from tests.store.shelf import write_gguf
from tests.toy import ToyModels
from tests.widgets.browser import Notebook

CONFIG = {"model_format": "gguf", "model_family": "llama", "file_type": "Q8_0"}
SIZE = 3 << 20


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Misbehaving]:
    header = write_gguf(tmp_path_factory.mktemp("gguf") / "w.gguf").read_bytes()
    with misbehaving() as running:
        weights = header + random.Random(1).randbytes(SIZE)
        running.add("me/m", "1", CONFIG, model=weights)
        yield running


@pytest.fixture(scope="module")
def models(notebook: Notebook, folder: Path) -> Locator:
    """While a cell runs that stood in line when the widget was made."""
    cells = "import ollmlx\nollmlx.ModelManager()", "import time; time.sleep(600)"
    notebook.open(folder, "models.ipynb", *cells)
    notebook.begin_all()
    expect(notebook.prompt(2)).to_have_text("[*]:")
    return notebook.widget("ollmlx-manager")


@pytest.fixture(scope="module")
def server(notebook: Notebook) -> Iterator[httpx.Client]:
    """The same server, for somebody else."""
    headers = {"Authorization": f"token {notebook.token}"}
    mount = notebook.server.note["mount"]
    with httpx.Client(base_url=mount, headers=headers, trust_env=False, timeout=20) as http:
        yield http


def listed(models: Locator, label: str) -> Locator:
    """The rows of one of the lists."""
    return models.get_by_role("list", name=label).get_by_role("listitem")


def test_a_pull_is_watched_paused_gone_on_with_and_then_installed(
    models: Locator, registry: Misbehaving
):
    registry.seconds_per_mib = 5
    name = f"http://{registry.host}/me/m:1"
    models.get_by_label("Search for models").fill(name)
    models.get_by_role("button", name="Pull the model of this name").click()
    job = listed(models, "Jobs").first
    expect(job).to_contain_text(re.compile(r"of 3\.1 MB|of 3 MB"))
    expect(job).to_contain_text(re.compile(r"[kM]B/s.* left"))
    job.get_by_role("button", name="Pause").hover()
    models.page.mouse.down()
    expect(job).not_to_have_text(job.text_content() or "")  # which must not take the button away
    models.page.mouse.up()
    expect(job).to_contain_text("paused")
    registry.seconds_per_mib = 0
    job.get_by_role("button", name="Resume").press("Enter")
    expect(job).to_contain_text("done")
    expect(listed(models, "Installed models").filter(has_text="me/m:1")).to_contain_text("3 MB")
    job.get_by_role("button", name="Remove").click()
    expect(listed(models, "Jobs")).to_have_count(0)


def test_a_pull_is_cancelled_after_a_question(models: Locator, registry: Misbehaving):
    registry.add("me/other", "1", CONFIG, model=random.Random(2).randbytes(SIZE))
    registry.seconds_per_mib = 5
    models.get_by_label("Search for models").fill(f"http://{registry.host}/me/other:1")
    models.get_by_role("button", name="Pull the model of this name").click()
    job = listed(models, "Jobs").first
    job.get_by_role("button", name="Cancel the pull").click()
    models.page.keyboard.press("Escape")
    expect(job.get_by_role("group")).to_have_count(0)
    expect(job.get_by_role("button", name="Cancel the pull")).to_be_focused()
    models.page.keyboard.press("Enter")
    expect(job).not_to_have_text(job.text_content() or "")
    expect(job.get_by_role("button", name="No")).to_be_focused()
    job.get_by_role("button", name="Yes, cancel it").click()
    expect(listed(models, "Jobs")).to_have_count(0)
    registry.seconds_per_mib = 0


def test_a_model_is_loaded_with_the_arithmetic_shown_then_pinned_and_unloaded(models: Locator):
    models.get_by_role("button", name="Load echo:latest", exact=True).click()
    panel = models.get_by_role("group", name="Load echo:latest")
    expect(panel).to_contain_text("Fits in memory.")
    expect(panel).to_contain_text(
        re.compile(r"of weights \+ .* a token x \d+ tokens x \d+ at once")
    )
    panel.get_by_label("Context (tokens)").fill("512")
    panel.get_by_label("Context (tokens)").press("Tab")
    expect(panel).to_contain_text("x 512 tokens")
    panel.get_by_role("button", name="Load").click()
    running = listed(models, "Running models")
    expect(running).to_contain_text(re.compile(r"echo:latest\s*goes in .*512 tokens of context"))
    running.get_by_role("button", name="Pin echo:latest", exact=True).click()
    expect(running).to_contain_text("stays loaded")
    running.get_by_role("button", name="Unload echo:latest").click()
    expect(running).to_have_count(0)


def test_what_others_load_and_delete_is_seen(models: Locator, server: httpx.Client):
    server.post("/api/generate", json={"model": "parrot", "prompt": ""}).raise_for_status()
    expect(listed(models, "Running models")).to_contain_text("parrot:latest")
    server.post("/api/ollmlx/unload", json={"model": "parrot"}).raise_for_status()
    expect(listed(models, "Running models")).to_have_count(0)


def test_a_model_is_deleted_after_a_question(models: Locator, server: httpx.Client):
    row = listed(models, "Installed models").filter(has_text="me/m:1")
    row.get_by_role("button", name=re.compile("^Delete")).click()
    expect(row).to_contain_text("from the disk?")
    row.get_by_role("button", name="No").click()
    expect(row.get_by_role("group")).to_have_count(0)
    row.get_by_role("button", name=re.compile("^Delete")).click()
    row.get_by_role("button", name="Yes, delete it").click()
    expect(row).to_have_count(0)
    names = [model["name"] for model in server.get("/api/tags").json()["models"]]
    assert not any("me/m:1" in name for name in names)


def test_curated_models_are_found(models: Locator):
    models.get_by_label("Search for models").fill("llama3.2")
    models.get_by_label("Search for models").press("Enter")
    expect(listed(models, "Found models").first).to_contain_text(re.compile("llama3.2.*curated"))


def test_a_conversion_is_asked_for_with_a_name_and_its_failure_is_told(models: Locator):
    models.get_by_role("button", name="Convert or quantise echo:latest").click()
    panel = models.get_by_role("group", name="Convert echo:latest")
    panel.get_by_label("Quantisation").select_option("int4")
    expect(panel.get_by_label("Name")).to_have_value("echo:latest-int4")
    panel.get_by_role("button", name="Begin").click()
    job = listed(models, "Jobs").first
    expect(job).to_contain_text("failed")
    expect(job.locator(".ollmlx-error")).to_contain_text("echo:latest has no weights to convert")


def test_a_model_is_converted_and_quantised_with_progress(
    models: Locator, server: httpx.Client, toy: ToyModels
):
    install(server, "toy", toy.gguf)
    make(models, "toy:latest", "MLX", "as it is", "toy:latest-mlx")
    expect(model(models, "toy:latest-mlx")).to_contain_text("MLX")
    make(models, "toy:latest", "GGUF, quantised", "q8_0", "toy:latest-q8_0")
    expect(model(models, "toy:latest-q8_0")).to_contain_text("Q8_0")
    make(models, "toy:latest-mlx", "MLX, quantised", "int8", "toy:latest-mlx-int8")
    for again in ("toy", "toy:latest-mlx"):
        server.post("/api/create", json={"model": f"{again}-2", "from": again}).raise_for_status()
    done = listed(models, "Jobs").filter(has_text="done")
    expect(done).to_have_count(3)
    models.get_by_role("button", name="Remove all that are done").press("Enter")
    expect(done).to_have_count(0)
    expect(models.get_by_role("button", name="Remove all that are done")).to_be_hidden()
    expect(model(models, "toy:latest-mlx-int8")).to_contain_text("int8")
    rows = [model(models, f"toy:latest-{made}") for made in ("q8_0", "mlx-int8")]
    again = [row.get_by_role("button", name=re.compile("^Convert")).count() for row in rows]
    assert again == [1, 0]  # bits that are gone cannot be rounded again, only written as MLX


def install(server: httpx.Client, name: str, file: Path) -> None:
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    server.post(f"/api/blobs/{digest}", content=file.read_bytes()).raise_for_status()
    request = {"model": name, "files": {file.name: digest}, "stream": False}
    server.post("/api/create", json=request).raise_for_status()


def model(models: Locator, name: str) -> Locator:
    delete = models.page.get_by_role("button", name=f"Delete {name}", exact=True)
    return listed(models, "Installed models").filter(has=delete)


def make(models: Locator, source: str, kind: str, level: str, name: str) -> None:
    """Convert by hand, watch the job to its end, and take it off the list."""
    models.get_by_role("button", name=f"Convert or quantise {source}", exact=True).click()
    panel = models.get_by_role("group", name=f"Convert {source}", exact=True)
    panel.get_by_label("What to make").select_option(kind)
    panel.get_by_label("Quantisation").select_option(level)
    panel.get_by_label("Name").fill(name)
    panel.get_by_label("Name").press("Enter")
    expect(panel).to_have_count(0)
    job = listed(models, "Jobs").filter(has_text=name)
    expect(job.get_by_role("progressbar")).to_be_visible()
    expect(job).to_contain_text("done")
    job.get_by_role("button", name="Remove").click()
    expect(job).to_have_count(0)


def test_names_are_never_html(models: Locator, notebook: Notebook):
    expect(listed(models, "Installed models").filter(has_text="<img src=x")).to_have_count(1)
    assert models.locator("img").count() == 0
    assert "owned" not in notebook.page.title()


def test_the_keyboard_alone_reaches_everything(models: Locator):
    buttons = models.locator("button, input").all()
    assert all(button.get_attribute("tabindex") is None for button in buttons)
    models.get_by_role("button", name="Copy the address").focus()
    for _ in range(3):
        models.page.keyboard.press("Tab")
    assert models.evaluate("(element) => element.contains(document.activeElement)")

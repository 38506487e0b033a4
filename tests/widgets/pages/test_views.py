"""`ollmlx.TokenView` and `ollmlx.Telemetry` in JupyterLab."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.widgets.browser import Notebook

TOKENS = """
import math, ollmlx
from ollama import ChatResponse
def entry(token, p, others=()):
    top = [{"token": t, "logprob": math.log(q)} for t, q in [(token, p), *others]]
    return {"token": token, "logprob": math.log(p), "top_logprobs": top}
cat = entry("<b>cat</b>", 0.4, [("dog", 0.5), ("cow", 0.1)])
said = [entry("The ", 0.9), cat, entry("\\n", 1.0)]
message = {"role": "assistant", "content": "The <b>cat</b>"}
ollmlx.TokenView(ChatResponse(model="m", message=message, logprobs=said))
"""
TELEMETRY = "ollmlx.Telemetry()"
ASK = "chat = ollmlx.chat('echo', [{'role': 'user', 'content': 'word ' * 300}])"
STOP = "gone = ollmlx.generate('echo', keep_alive=0)"


@pytest.fixture(scope="module")
def opened(notebook: Notebook, folder: Path) -> Notebook:
    notebook.open(folder, "views.ipynb", TOKENS, TELEMETRY, ASK, STOP)
    notebook.run(1)
    return notebook


@pytest.fixture(scope="module")
def tokens(opened: Notebook) -> Locator:
    return opened.widget("ollmlx-tokens")


def test_the_less_sure_a_token_the_redder_it_is(tokens: Locator):
    shares = [
        float(re.search(r"([\d.]+)%", option.get_attribute("style") or "")[1])  # type: ignore[index]  # all have one
        for option in tokens.get_by_role("option").all()
    ]
    assert shares == [7.5, 45.0, 0.0]
    expect(tokens).to_contain_text("3 tokens, 76.7 % sure on average")


def test_alternatives_are_shown_under_the_pointer(tokens: Locator):
    tokens.get_by_role("option", name=re.compile("cat")).hover()
    expect(tokens.get_by_role("status").locator("code")).to_have_text(["dog", "<b>cat</b>", "cow"])
    expect(tokens.get_by_role("status").locator("span")).to_have_text(
        ["50.0 %", "40.0 %", "10.0 %"]
    )
    assert tokens.locator("b").count() == 0


def test_the_arrow_keys_go_from_token_to_token(tokens: Locator):
    box = tokens.get_by_role("listbox")
    box.focus()
    box.press("Home")
    expect(tokens.get_by_role("option", selected=True)).to_have_text("The ")
    box.press("ArrowRight")
    expect(tokens.get_by_role("option", selected=True)).to_have_text("<b>cat</b>")
    box.press("End")
    expect(tokens.get_by_role("option", selected=True)).to_have_text("⏎\n")


def test_telemetry_draws_what_a_model_does(opened: Notebook):
    opened.run(2)
    telemetry = opened.widget("ollmlx-telemetry")
    opened.run(3)
    row = telemetry.locator("tbody tr").filter(has_text="echo:latest")
    expect(row).to_contain_text(re.compile(r":latest.*\d{4,} tokens"))
    chart = telemetry.get_by_role("img", name=re.compile("^Tokens a second: .*:latest"))
    # Another test's model may still be loaded, and have a line of its own.
    expect(chart.locator('polyline[points*="240.0,"]').first).to_be_attached()
    expect(telemetry.locator("figcaption").first).to_contain_text(re.compile("up to [1-9]"))
    expect(telemetry.get_by_role("img")).to_have_count(4)


def test_telemetry_tells_nothing_of_a_model_that_left_before(opened: Notebook):
    opened.run(4)
    opened.run(2)
    telemetry = opened.widget("ollmlx-telemetry")
    chart = telemetry.get_by_role("img", name=re.compile("^Tokens a second: "))
    expect(chart).to_have_attribute("aria-label", re.compile("^(?!.*echo)"))
    expect(telemetry.locator("tbody tr").filter(has_text="echo:latest")).to_have_count(0)


def test_what_was_saved_is_read_without_a_kernel(opened: Notebook):
    opened.run(1)
    opened.command("docmanager:save")
    opened.shut_down()
    opened.page.reload()
    table = opened.page.locator(".jp-Cell").first.locator(".jp-RenderedMarkdown table")
    expect(table).to_contain_text("dog 50.0%")
    expect(opened.page.locator(".jp-RenderedMarkdown").nth(1)).to_contain_text("run the cell")
    expect(opened.page.get_by_text("model not found")).to_have_count(0)

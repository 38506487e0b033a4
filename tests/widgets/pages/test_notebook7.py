"""The widgets in Notebook 7, in dark colours and in a narrow window."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.widgets.browser import HARD_TO_READ, Notebook

CHAT = "import ollmlx\nollmlx.Chat('echo', compare='parrot')"
MODELS = "ollmlx.ModelManager()"


@pytest.fixture(scope="module")
def opened(notebook: Notebook, folder: Path) -> Notebook:
    """While a cell runs that stood in line when the widgets were made."""
    notebook.open(
        folder, "seven.ipynb", CHAT, MODELS, "import time; time.sleep(600)", app="notebooks"
    )
    notebook.begin_all()
    expect(notebook.prompt(3)).to_have_text("[*]:")
    return notebook


def test_it_chats_and_manages(opened: Notebook):
    chat = opened.widget("ollmlx-chat")
    chat.get_by_label("Your question").fill("*hello*")
    chat.get_by_label("Your question").press("Enter")
    expect(chat.locator(".ollmlx-text em")).to_have_text(["hello", "hello"])
    models = opened.widget("ollmlx-manager")
    expect(models.get_by_role("list", name="Running models")).to_contain_text("goes in")
    chat.get_by_role("button", name="Keep the conversation").click()
    expect(opened.page.locator(".jp-MarkdownOutput blockquote")).to_have_text("hello")
    expect(opened.prompt(4)).to_have_text("[*]:")


def test_a_narrow_page_puts_things_below_one_another(opened: Notebook):
    replies = opened.widget("ollmlx-chat").locator("article")
    wide = [reply.bounding_box() for reply in replies.all()]
    assert wide[0]["y"] == wide[1]["y"]
    opened.page.set_viewport_size({"width": 420, "height": 800})
    expect(replies.first).to_be_visible()
    narrow = [reply.bounding_box() for reply in replies.all()]
    assert narrow[0]["y"] < narrow[1]["y"]
    for kind in ("ollmlx-chat", "ollmlx-manager"):
        widget = opened.widget(kind)
        assert widget.evaluate("(element) => element.scrollWidth <= element.clientWidth")


def test_colours_follow_the_theme(opened: Notebook):
    chat = opened.widget("ollmlx-chat")
    colours = (
        "(element) => [getComputedStyle(element).color, getComputedStyle(element).backgroundColor]"
    )
    ink, ground = (brightness(colour) for colour in chat.evaluate(colours))
    assert ink < ground
    assert opened.page.evaluate(HARD_TO_READ) == []
    opened.theme("JupyterLab Dark")
    ink, ground = (brightness(colour) for colour in chat.evaluate(colours))
    assert ink > ground
    assert opened.page.evaluate(HARD_TO_READ) == []


def test_a_kernel_that_is_shut_down_is_told(opened: Notebook):
    opened.shut_down()
    for kind in ("ollmlx-chat", "ollmlx-manager"):
        expect(opened.widget(kind).get_by_role("alert")).to_have_text(
            re.compile("Run the cell again")
        )


def brightness(colour: str) -> float:
    """Of `rgb(…)` or `rgba(…)`, laid on white."""
    red, green, blue, *alpha = map(float, re.findall(r"[\d.]+", colour))
    share = alpha[0] if alpha else 1.0
    return (red + green + blue) / 3 * share + 255 * (1 - share)

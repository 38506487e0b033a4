"""`ollmlx.Chat` in JupyterLab, with models that say what they hear."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.stand_in import StandIn, standing_in
from tests.widgets.browser import Notebook

CHAT = "import ollmlx\nchat = ollmlx.Chat('echo:latest')\nchat"
TOKENS = 20_000
KEEP = "Keep the conversation in the notebook"
KEPT = "> keep **this**\n\n**echo:latest**\n\nkeep **this**"
FORMULAS = r"""From $5 or $6: \(a^2\), $b_1$, `\(c\)`, \(\href{javascript:alert(1)}{d}\).

\[
\frac{e}{2}
+ 1
\]

$$f$$"""
LONG = "word\n\n" * 300
ATTACK = """<img src=x onerror="document.title='owned'"> <script>document.title='owned'</script>
[bad](javascript:document.title='owned') [data](data:text/html,x) [good](https://example.org/a)
<a href="javascript:alert()">x</a> <https://example.org/b>"""


@pytest.fixture(scope="module")
def far_end() -> Iterator[StandIn]:
    """A server that is faster than any model."""
    with standing_in() as stand_in:
        stand_in.words = ["word\n\n" if number % 6 == 5 else "word " for number in range(TOKENS)]
        yield stand_in


@pytest.fixture(scope="module")
def shown(notebook: Notebook, folder: Path, far_end: StandIn) -> Locator:
    """The widget, in a notebook with more cells that can be run at will."""
    other = f"ollmlx.Chat('m:1b', host='{far_end.url}')"
    notebook.open(folder, "chat.ipynb", CHAT, "import time; time.sleep(600)", other)
    notebook.run(1)
    return notebook.widget("ollmlx-chat")


@pytest.fixture
def chat(shown: Locator) -> Locator:
    shown = shown.first
    if shown.locator(".ollmlx-chat-turn").count():
        shown.get_by_role("button", name="Clear the conversation").click()
    expect(shown.locator(".ollmlx-chat-turn")).to_have_count(0)
    return shown


def ask(chat: Locator, text: str) -> None:
    field = chat.get_by_label("Your question")
    field.evaluate("(field, text) => { field.value = text; }", text)  # typing it takes long
    field.press("Enter")


def test_an_answer_is_markdown_with_its_pace(chat: Locator):
    code, table = "```python\nx = 1\n```", "| a | b |\n|---|---|\n| 1 | 2 |"
    ask(chat, f"**bold** and `code`\n\n- one\n- two\n\n{code}\n\n{table}")
    expect(chat.locator(".ollmlx-text strong")).to_have_text("bold")
    expect(chat.locator(".ollmlx-text li")).to_have_text(["one", "two"])
    expect(chat.locator(".ollmlx-text pre")).to_have_text("x = 1")
    expect(chat.locator(".ollmlx-text td")).to_have_text(["1", "2"])
    expect(chat.locator("footer")).to_have_text(re.compile(r"\d+ tokens · .* tokens/s"))


def test_what_a_model_says_is_never_html_and_leads_to_the_web_only(
    chat: Locator, notebook: Notebook
):
    title = notebook.page.title()
    ask(chat, ATTACK)
    expect(chat.locator("footer")).to_have_text(re.compile("tokens/s"))
    links = chat.locator(".ollmlx-text a")
    assert [link.get_attribute("href") for link in links.all()] == [
        "https://example.org/a",
        "https://example.org/b",
    ]
    assert chat.locator(".ollmlx-text :is(img, script, iframe)").count() == 0
    assert "<img src=x onerror" in chat.locator(".ollmlx-text").inner_text()
    assert notebook.page.title() == title


def test_twenty_thousand_tokens_scroll_with_at_most_thirty_repaints_a_second(
    shown: Locator, notebook: Notebook, far_end: StandIn
):
    notebook.run(3)
    fast = shown.nth(1)
    fast.evaluate(
        """(element) => {
            window.paints = [];
            const log = element.querySelector("[role=log]");
            window.watch = new MutationObserver(() => window.paints.push(performance.now()));
            window.watch.observe(log, { childList: true, subtree: true, characterData: true });
        }"""
    )
    ask(fast, "Go on")
    expect(fast.locator("footer")).to_have_text(re.compile("tokens/s"))
    paints = notebook.page.evaluate("() => (window.watch.disconnect(), window.paints)")
    in_a_second = [sum(begun <= paint < begun + 1000 for paint in paints) for begun in paints]
    assert 5 < max(in_a_second) <= 30
    assert fast.locator(".ollmlx-text p").count() == -(-TOKENS // 6)
    log = fast.get_by_role("log")
    expect(log).to_have_attribute("aria-busy", "false")
    assert log.evaluate("(log) => log.scrollHeight - log.scrollTop - log.clientHeight") < 5
    log.evaluate("(log) => { log.scrollTop = 0; }")
    assert log.evaluate("(log) => log.scrollHeight") > 20_000


def test_stop_ends_an_answer_and_keeps_its_text(chat: Locator):
    ask(chat, LONG)
    expect(chat.locator(".ollmlx-text p").first).to_be_visible()
    expect(chat.get_by_role("button", name=KEEP)).to_be_disabled()
    chat.get_by_role("button", name="Stop answering").click()
    expect(chat.locator("footer")).to_have_text(re.compile(r"stopped · \d+ tokens"))
    expect(chat.get_by_role("button", name="Send")).to_be_visible()
    expect(chat.get_by_role("button", name=KEEP)).to_be_enabled()
    assert 0 < chat.locator(".ollmlx-text p").count() < LONG.count("word")


def test_it_answers_while_a_cell_runs(chat: Locator, notebook: Notebook):
    notebook.begin(2)
    try:
        ask(chat, "busy")
        expect(chat.locator(".ollmlx-text")).to_have_text("busy")
        expect(notebook.prompt(2)).to_have_text("[*]:")
    finally:
        notebook.interrupt(2)


def test_a_question_is_edited_and_answered_again(chat: Locator):
    ask(chat, "first")
    expect(chat.locator(".ollmlx-text")).to_have_text("first")
    before = chat.locator("article").element_handle()
    chat.get_by_role("button", name="Answer the last question again").click()
    before.wait_for_element_state("hidden")
    expect(chat.locator("footer")).to_have_text(re.compile("5 tokens"))
    chat.get_by_role("button", name="Edit this question").click()
    field = chat.get_by_label("The question", exact=True)
    field.fill("second")
    field.press("Enter")
    expect(chat.locator(".ollmlx-text")).to_have_text("second")
    expect(chat.locator(".ollmlx-chat-turn")).to_have_count(1)


def test_what_was_cleared_comes_back_by_the_same_key(chat: Locator, notebook: Notebook):
    ask(chat, "first")
    expect(chat.locator(".ollmlx-text")).to_have_text("first")
    chat.get_by_role("button", name="Clear the conversation").press("Enter")
    expect(chat.get_by_text("cleared; Undo brings it back")).to_be_visible()
    expect(chat.get_by_role("button", name="Bring the conversation back")).to_be_focused()
    notebook.page.keyboard.press("Enter")
    expect(chat.locator(".ollmlx-text")).to_have_text("first")
    expect(chat.get_by_role("button", name="Clear the conversation")).to_be_focused()


def test_two_models_answer_side_by_side(chat: Locator):
    chat.get_by_label("Compare with").select_option("parrot:latest")
    ask(chat, "both")
    expect(chat.locator(".ollmlx-text")).to_have_text(["both", "both"])
    expect(chat.locator("article > header")).to_have_text(["echo:latest", "parrot:latest"])
    chat.get_by_label("Compare with").select_option("")


def test_settings_reach_the_model(chat: Locator):
    toggle = chat.get_by_role("button", name="Settings")
    toggle.press("Enter")
    chat.get_by_label("Top p").fill("0.5")
    chat.get_by_label("Most tokens").click()
    chat.get_by_label("Most tokens").press_sequentially("3", delay=500)  # the kernel answers before
    chat.get_by_label("Most tokens").press("Tab")
    ask(chat, "abcdef")
    expect(chat.locator(".ollmlx-text")).to_have_text("abc")
    expect(chat.locator("footer")).to_have_text(re.compile("cut off at the limit · 3 tokens"))
    chat.get_by_label("Most tokens").fill("")
    chat.get_by_label("Most tokens").press("Escape")
    expect(chat.get_by_label("Most tokens")).to_be_hidden()
    expect(toggle).to_be_focused()


def test_an_error_of_the_server_is_told_where_the_answer_would_be(chat: Locator):
    ask(chat, "?")
    expect(chat.locator("footer.ollmlx-error")).to_have_text("asked a question")


def test_keys_are_for_the_widget_and_not_for_jupyter(chat: Locator, notebook: Notebook):
    cells = notebook.page.locator(".jp-Cell").count()
    field = chat.get_by_label("Your question")
    field.focus()
    notebook.page.keyboard.type("abdd")
    notebook.page.keyboard.press("Shift+Enter")
    notebook.page.keyboard.type("xx")
    expect(field).to_have_value("abdd\nxx")
    assert notebook.page.locator(".jp-Cell").count() == cells
    notebook.page.keyboard.press("Tab")
    notebook.page.keyboard.press("Enter")
    expect(chat.locator(".ollmlx-text p")).to_have_text("abdd xx")
    for focused in (chat.get_by_role("button", name="Settings"), chat.get_by_role("log")):
        focused.focus()
        notebook.page.keyboard.type("amdd")
        expect(focused).to_be_focused()
    assert [kind for kind, _ in notebook.sources()] == ["code"] * cells


def test_the_conversation_is_kept_in_a_cell_of_its_own(chat: Locator, notebook: Notebook):
    ask(chat, "keep **this**")
    expect(chat.locator("footer")).to_have_text(re.compile("tokens/s"))
    chat.get_by_role("button", name=KEEP).click()
    expect(chat.get_by_role("status").last).to_have_text("kept in the cell below")
    assert notebook.sources()[:2] == [["code", CHAT], ["markdown", KEPT]]
    expect(notebook.page.locator(".jp-MarkdownOutput blockquote")).to_have_text("keep this")


def test_where_nobody_makes_cells_it_is_kept_as_an_output(
    chat: Locator, notebook: Notebook, folder: Path
):
    ask(chat, "keep **this**")
    expect(chat.locator("footer")).to_have_text(re.compile("tokens/s"))
    # As in a front end without JupyterLab's extensions.
    nobody = "(event) => event.stopImmediatePropagation(), { capture: true, once: true }"
    notebook.page.evaluate(f"() => window.addEventListener('ollmlx:insert-cell', {nobody})")
    chat.get_by_role("button", name=KEEP).click()
    expect(chat.get_by_text("kept below as Markdown")).to_be_visible()
    notebook.command("docmanager:save")
    saved = json.loads((folder / "chat.ipynb").read_text())
    kept = saved["cells"][0]["outputs"][-1]["data"]
    assert ["".join(kept[kind]) for kind in ("text/markdown", "text/plain")] == [KEPT, KEPT]


def test_formulas_are_typeset_and_prices_are_not(chat: Locator):
    ask(chat, FORMULAS)
    text = chat.locator(".ollmlx-text")
    expect(text.locator("mjx-container")).to_have_count(5)
    expect(text.locator("mjx-container[display]")).to_have_count(2)
    expect(text.locator("p").first).to_contain_text("$5 or $6")
    assert text.locator("code").all_inner_texts() == [r"\(c\)"]
    assert text.locator("mjx-container [href]").count() == 0
    log = chat.get_by_role("log")
    assert log.evaluate("(log) => log.scrollHeight - log.scrollTop - log.clientHeight") < 5


def test_a_restarted_kernel_is_told_and_the_text_stays(chat: Locator, notebook: Notebook):
    ask(chat, "before")
    expect(chat.locator(".ollmlx-text")).to_have_text("before")
    notebook.restart()
    expect(chat.get_by_role("alert")).to_have_text(re.compile("Run the cell again"))
    expect(chat.locator(".ollmlx-text")).to_have_text("before")
    assert chat.get_by_label("Your question").evaluate(
        "(field) => field.closest('[inert]') !== null"
    )
    notebook.run(1)
    expect(chat.get_by_role("alert")).to_have_count(0)
    ask(chat, "after")
    expect(chat.locator(".ollmlx-text")).to_have_text("after")

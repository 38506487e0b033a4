"""`ollmlx.Chat` in a real browser."""

import re

from playwright.sync_api import expect

from tests.widgets.browser import Notebook

CHAT = "import ollmlx\nchat = ollmlx.Chat('echo')\nchat"


def test_a_question_is_answered_in_markdown(notebook: Notebook, folder):
    notebook.open(folder, "chat.ipynb", CHAT)
    notebook.run()
    chat = notebook.widget("ollmlx-chat")
    chat.get_by_label("Your question").fill("**bold** and `code`")
    chat.get_by_label("Your question").press("Enter")
    expect(chat.locator(".ollmlx-text strong")).to_have_text("bold")
    expect(chat.locator("footer")).to_have_text(re.compile(r"19 tokens · .* tokens/s"))
    notebook.page.screenshot(path="/tmp/J_1.png")

"""Widgets where nothing of JupyterLab is, in bare pages, light and dark, and in VS Code's."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import ollmlx
from tests.widgets.browser import HARD_TO_READ

SHOW = """async ([script, style, tokens]) => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(style);
  document.adoptedStyleSheets = [sheet];
  const hearers = [];
  window.said = [];
  window.tell = (message) => hearers.forEach((hear) => hear(message));
  const model = {
    get: () => tokens,
    send: (message) => window.said.push(message),
    on: (name, hear) => name === "msg:custom" && hearers.push(hear),
    off: () => {},
  };
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const widget = (await import(address)).default;
  await widget.render({ model, el: document.querySelector("main") });
}"""
ANSWER = "**Bold** `code` [link](https://example.org) $x^2$\n\n> quote\n\n| a |\n|---|\n| 1 |"
REPLY = {"model": "m:1b", "text": ANSWER, "thinking": "Hm", "tokens": 3, "done_reason": "length"}
REFUSED = {"model": "n:1b", "text": "", "thinking": "", "tokens": 0, "error": "not found"}
TURN = {"question": "Why?", "images": [], "replies": [REPLY, REFUSED | {"done_reason": "error"}]}
CHAT = {
    "kind": "state",
    "since": 0,
    "turns": [TURN],
    "settings": {"models": ["m:1b"], "installed": [], "system": "", "options": {}, "think": None},
    "busy": False,
    "markdown": "",
}
MODEL = {"name": "m:1b", "size": 9, "details": {"format": "gguf", "quantization_level": "Q8_0"}}
JOB = {"id": "j", "kind": "pull", "model": "n:1b", "status": "failed", "error": "gone", "total": 0}
TOKENS = [{"text": "Hi", "probability": 0.1, "alternatives": [{"text": "Ho", "probability": 0.9}]}]
SAID: dict[str, list[dict[str, Any]]] = {
    "Chat": [CHAT],
    "ModelManager": [
        {"type": "models", "whole": True, "changed": [MODEL], "removed": []},
        {"type": "jobs", "whole": True, "changed": [JOB], "removed": []},
    ],
    "Telemetry": [
        {"type": "telemetry", "telemetry": {"models": [], "waiting": 0, "memory_free": 1e9}},
    ],
    "TokenView": [],
}


VSCODE = """<body class="vscode-dark"><style>:root {
  --vscode-editor-background: #1f1f1f; --vscode-editor-foreground: #ccc;
  --vscode-input-background: #313131; --vscode-textCodeBlock-background: #2b2b2b;
  --vscode-button-background: #0078d4; --vscode-button-foreground: #fff;
  --vscode-textLink-foreground: #4daafc;
  --jp-layout-color1: white; --jp-layout-color2: #eee; --jp-ui-font-color1: rgb(0 0 0 / 80%);
  --jp-brand-color1: #1976d2; --jp-border-color2: #e0e0e0;
}</style><main></main>"""
"""As VS Code 1.139 makes a page of outputs in its dark theme."""
PAGES = {"light": "<main></main>", "dark": "<main></main>", "vscode": VSCODE}


@pytest.fixture(params=PAGES)
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Whose console stayed silent, and which asked nobody for anything."""
    scheme = "dark" if request.param == "dark" else "light"
    opened = browser.new_page(color_scheme=scheme, viewport={"width": 400, "height": 900})
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda asked: wrong.append(asked.url))
    opened.set_content(PAGES[request.param])
    yield opened
    opened.close()
    assert [text for text in wrong if not text.startswith("blob:")] == []


@pytest.mark.parametrize("name", SAID)
def test_a_widget_needs_nothing_around_it_and_can_be_read(page: Page, name: str):
    widget = getattr(ollmlx, name)
    page.evaluate(SHOW, [widget._esm, widget._css, TOKENS])
    for message in SAID[name]:
        page.evaluate("(message) => window.tell(message)", at(page, message))
    shown = page.locator("main.ollmlx")
    expect(shown).not_to_contain_text("asking the server")
    if name == "Chat":
        expect(shown.locator("code.ollmlx-maths")).to_have_text("x^2")
        shown.get_by_role("button", name="Settings").click()
    if name == "TokenView":
        shown.get_by_role("listbox").focus()
    assert page.evaluate(HARD_TO_READ) == []
    assert shown.evaluate("(element) => element.scrollWidth <= element.clientWidth")


def at(page: Page, message: dict[str, Any]) -> dict[str, Any]:
    """As the kernel says it to a page that follows, under the name that the page has."""
    if "kind" in message:
        return message
    follows = page.evaluate("() => window.said.find(({ kind }) => kind === 'follow').page")
    return {"kind": "event", "page": follows, "event": message}

"""What `%%ollmlx` leaves in JupyterLab, which runs scripts in the Markdown of cells it has run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.stand_in import StandIn, standing_in
from tests.widgets.browser import Notebook

IMG = "<img src=x onerror='window.owned = 1'>"
ATTACKS = (
    f"{IMG}<script>window.owned = 1</script>",
    f"`a\n\n{IMG}\n\nb`",
    f"1. a\n   ```\n{IMG}\n   ```",
    f'[a]: /x "\n```\n"\n{IMG}\n```',
    f"| a | b |\n|---|---|\n| `a | {IMG}` |",
    f"www.a.b`{IMG}`",
    f"    ```\na\n```\n```\n{IMG}\n```",
    f"<!-- \n```\n-->\n{IMG}\n```",
    f"$\n```\n$ {IMG}\n```\n$$ `{IMG}` $$ ${IMG}$",
    "[a](javascript:window.owned=1) [b](javascript&colon;window.owned=1) [c][d]\n\n"
    "[d]: javascript:window.owned=1\n\n<javascript:window.owned=1> "
    r"$\href{javascript:window.owned=1}{e}$ [f](java&#115;cript:window.owned=1)",
    f"</details>{IMG}",
)
ACTING = ":is(img, script, iframe, [onerror], a[href^='javascript' i])"
LINKS = "(links) => links.map((link) => link.href)"


@pytest.fixture(scope="module")
def far_end() -> Iterator[StandIn]:
    with standing_in() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def answers(notebook: Notebook, folder: Path, far_end: StandIn) -> Notebook:
    host = f"import os; os.environ['OLLMLX_HOST'] = '{far_end.url}'"
    notebook.open(folder, "answers.ipynb", f"%load_ext ollmlx\n{host}", "%%ollmlx m\nSay it.")
    notebook.run(1)
    return notebook


def told(answers: Notebook, far_end: StandIn, text: str) -> Locator:
    far_end.words = [text, "\n\nThe end."]
    answers.run(2)
    shown = answers.page.locator(".jp-Cell").nth(1).locator(".jp-RenderedMarkdown")
    expect(shown).to_contain_text("The end.")
    return shown


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_an_answer_acts(answers: Notebook, far_end: StandIn, attack: str):
    shown = told(answers, far_end, attack)
    assert shown.locator(ACTING).count() == 0
    links = shown.locator("a:not([data-path], [href^='#'])").evaluate_all(LINKS)
    assert [link for link in links if not link.startswith(("http://", "https://"))] == []
    assert not answers.page.evaluate("() => window.owned")


def test_code_and_maths_look_as_they_should(answers: Notebook, far_end: StandIn):
    code = "1. See `<b>`:\n   ```html\n   <p>\n   ```\n2. $a^2$, $5 or $6"
    shown = told(answers, far_end, code)
    expect(shown.locator("pre code")).to_have_text("<p>\n")
    expect(shown.locator(":not(pre) > code")).to_have_text("<b>")
    expect(shown.locator("mjx-container")).to_have_count(1)
    expect(shown).to_contain_text("$5 or $6")

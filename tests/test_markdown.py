"""What models write, where it is taken for the user's own."""

import time

import pytest

from ollmlx.markdown import in_dollars, inert


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("<img src=x onerror=f()> <!-- </b>", "&lt;img src=x onerror=f()> &lt;!-- &lt;/b>"),
        (r"\<script>", "&lt;script>"),
        ("[a](javascript:f) [b]( data:x)", r"[a]\(javascript:f) [b]\( data:x)"),
        ("[a]: javascript:f", r"[a]\: javascript:f"),
        ("![a](https://far.off/?x)", "[a](https://far.off/?x)"),
        ("<https://a.b> <javascript:f>", "https://a.b &lt;javascript:f>"),
        (r"\`<i>\`", r"\`&lt;i>\`"),
    ],
)
def test_html_and_links_that_lead_elsewhere_are_text(said: str, shown: str):
    assert inert(said) == shown


@pytest.mark.parametrize(
    "text",
    [
        "**a** < b, `x < y`, [c](https://d) and [e](mailto:f@g)\n\n- h<br>i\n- H<sub>2</sub>O",
        "1. See\n   ```py\n   x = 1\n   ```\n2. and `list`",
        "```html\n",
    ],
)
def test_what_does_nothing_stays_as_it_is(text: str):
    assert inert(text).startswith(text)


def test_code_stays_code_in_a_form_that_nobody_doubts():
    assert inert("a\n```html\n<b>\n```") == "a\n\n```html\n<b>\n```\n"
    assert inert("1. a\n   ```\n   <b>\n   ```\nc") == "1. a\n\n```text\n<b>\n```\n\nc"
    assert inert("> ~~~ c++\n> vector<int>\n> ~~~") == "\n```c++\nvector<int>\n```\n"
    assert inert("`a` `<b>`") == "`a` <code>&#60;b&#62;</code>"


@pytest.mark.parametrize(
    "text",
    [
        "`a\n\n<img>\n\nb`",
        "1. a\n   ```\n<img>\n   ```",
        '[a]: /x "\n```\n"\n<img>\n```',
        "| `a | <img> ` |",
        "www.a.b`<img>`",
        "    ```\na\n```\n```\n<img>\n```",
        "`````\n```\n<img>\n```",
        "```\n```x\n<img>\n```",
        "<!-- \n```\n-->\n<img>\n```",
    ],
)
def test_what_some_read_as_code_and_others_do_not_is_text_to_all(text: str):
    before, raw, _ = inert(text).partition("<img>")
    # Where it is written as it was, the block around it is one that everybody sees.
    _, opened, code = before.rpartition("\n\n```text\n")
    assert not raw or (opened and "```" not in code)


def test_a_block_that_nobody_closed_does_not_swallow_what_follows():
    assert inert("```py\nx = 1") == "```py\nx = 1\n```"
    assert inert("- ~~~\n  x") == "- ~~~\n  x\n  ~~~"


@pytest.mark.parametrize("part", ["`", "` ", "<", "](", "- ", "> ", "1.", "~~~ x\n", "`a", "```\n"])
def test_marks_that_nobody_closes_cost_little(part: str):
    begun = time.process_time()
    inert(part * 30_000)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (r"so \( x^2 \) and \(y\)", "so $x^2$ and $y$"),
        ("\\[\na \\\\[2pt] b\n\\]", "$$a \\\\[2pt] b$$"),
        (r"$x$ and $$y$$", r"$x$ and $$y$$"),
    ],
)
def test_all_marks_of_maths_become_those_that_jupyter_knows(said: str, shown: str):
    assert in_dollars(said) == shown


@pytest.mark.parametrize(
    "text",
    [
        r"`\(x\)` and ``a ` \(x\)``",
        "```tex\n\\(x\\)\n```",
        "~~~\n$5 \\[x\\]",
        r"\\(x\\)",
        r"an open \( x",
    ],
)
def test_code_and_escapes_stay_as_they_are(text: str):
    assert in_dollars(text) == text


def test_prices_are_not_taken_for_maths():
    dollar = "<span>&#36;</span>"
    assert in_dollars(r"$5 or \$6, and $x$") == f"{dollar}5 or {dollar}6, and $x$"
    assert in_dollars("100$ (`$HOME`)") == f"100{dollar} (`$HOME`)"
    assert in_dollars("all for $5") == "all for $5"


@pytest.mark.parametrize("part", ["`", "` ", "$ ", r"\(", r"\[ $", "$a", "~~~ x\n"])
def test_marks_of_maths_that_nobody_closes_cost_little(part: str):
    begun = time.process_time()
    in_dollars(part * 30_000)
    assert time.process_time() - begun < 2

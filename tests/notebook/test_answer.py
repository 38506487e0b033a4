"""How an answer is shown while it grows, and what it keeps."""

import pytest
from ollama import ChatResponse

from ollmlx.batch.shapes import shape
from ollmlx.notebook import answer as answers
from ollmlx.notebook.answer import Answer, MarkdownView, PlainView, Turn
from ollmlx.notebook.saying import table
from ollmlx.notebook.tools import Call


def part(text: str, **more: object) -> ChatResponse:
    return ChatResponse(model="m", message={"role": "assistant", "content": text}, **more)


class Updates:
    """Stands for IPython's display: counts what a front end would be sent."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, bundle: dict[str, str], **_: object) -> "Updates":
        self.texts.append(bundle["text/markdown"])
        return self

    def update(self, bundle: dict[str, str], **_: object) -> None:
        self.texts.append(bundle["text/markdown"])


def test_updates_slow_down_as_the_text_grows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answers, "display", updates := Updates())  # no front end here
    clock = iter(range(10**9))
    seconds = 0.0

    def now() -> float:
        return seconds

    view, answer = MarkdownView(now), Answer("m")
    counts = []
    for _ in clock:
        seconds += 0.005  # 200 tokens a second
        answer.add(part("words "))
        view.show(answer)
        if len(answer.text) in (1998, 30_000, 36_000):
            counts.append(len(updates.texts))
        if len(answer.text) == 36_000:
            break
    view.close(answer)
    assert updates.texts[-1] == answer.text
    assert counts[0] <= 1998 / 6 * 0.005 * 10 + 1
    assert counts[2] - counts[1] <= 1000 * 0.005 * 2 + 1


def test_a_plain_view_writes_each_piece_once(capsys: pytest.CaptureFixture[str]):
    view, answer = PlainView(), Answer("m")
    for piece in ("Good ", "day"):
        answer.add(part(piece))
        view.show(answer)
    view.close(answer)
    assert capsys.readouterr().out == "Good day\n"


def test_an_answer_keeps_the_counts_and_the_speed():
    answer = Answer("m")
    answer.add(part("x"))
    answer.add(part("", done=True, done_reason="length", eval_count=4, eval_duration=2_000_000_000))
    assert (answer.done_reason, answer.stats["eval_count"]) == ("length", 4)
    assert answer.tokens_per_second == 2.0


def test_structured_answers_are_shown_as_code_and_read_as_values():
    answer = Answer("m", [Turn('{"a": 1}')], shape=shape("json"))
    assert answer.bundle()["text/markdown"] == '```json\n{"a": 1}\n```'
    assert answer.value == {"a": 1}


def test_formulas_are_in_the_marks_that_notebooks_typeset():
    shown = Answer("m", [Turn(r"It is \(x^2\), see `\(x\)`.")]).bundle()
    assert shown["text/markdown"] == r"It is $x^2$, see `\(x\)`."
    assert shown["text/plain"] == r"It is \(x^2\), see `\(x\)`."


def test_thinking_is_folded_above_the_text():
    shown = Answer("m", [Turn("4", "2 + 2")]).bundle()
    assert shown["text/plain"] == "4"
    assert shown["text/markdown"].startswith("<details><summary>Thinking</summary>")


def test_nothing_that_a_model_writes_acts():
    call = Call("<b>f", {}, "<img src=x>")
    answer = Answer("m", [Turn("<script>", "</details><script>", calls=[call])])
    assert answer.bundle()["text/plain"] == "<script>\n<b>f() → <img src=x>"
    shown = answer._repr_markdown_()
    assert ("<script" in shown, "<img" in shown, shown.count("</details>")) == (False, False, 1)


def test_code_that_a_thought_leaves_open_ends_with_the_thought():
    shown = Answer("m", [Turn("So.", "```py\nx =")]).bundle()["text/markdown"]
    assert shown.endswith("x =\n```\n\n</details>\n\nSo.")


def test_a_table_is_readable_as_text_and_as_markdown():
    bundle = table("2 rows", ["A", "B"], [["1", "2"], ["333", "4"]])
    assert bundle["text/plain"] == "2 rows\n\nA    B\n1    2\n333  4"
    assert "| 333 | 4 |" in bundle["text/markdown"]

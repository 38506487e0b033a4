"""The kernel's side of the widgets, without a page: what is asked of the server, what is told."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from ollama import ChatResponse, ResponseError

from ollmlx import Chat, ModelManager, Telemetry, TokenView
from ollmlx.client import UnknownOption
from ollmlx.widgets.chat import NotInNotebook
from ollmlx.widgets.tokens import NoLogprobs
from ollmlx.widgets.widget import Said, Widget, words
from tests.stand_in import StandIn, standing_in

NOBODY = "http://127.0.0.1:9"


class Page:
    """What a widget told it, and a way to wait for more."""

    def __init__(self, widget: Widget) -> None:
        self.widget, self.told = widget, list[Said]()
        self._more = threading.Condition()
        # A page is at the other end of a comm, which there is not without a kernel.
        widget.send = self._take

    def _take(self, said: Said) -> None:
        with self._more:
            self.told.append(said)
            self._more.notify_all()

    def ask(self, **said: Any) -> None:
        self.widget._handle_custom_msg(said, [])

    def until(self, holds: Callable[[Said], bool]) -> Said:
        """The first message that is as wanted."""
        found: list[Said] = []
        with self._more:
            assert self._more.wait_for(lambda: found.extend(filter(holds, self.told)) or found, 20)
        return found[0]

    def kind(self, kind: str) -> Said:
        return self.until(lambda said: said["kind"] == kind)


@pytest.fixture
def server():
    with standing_in() as stand_in:
        yield stand_in


def test_a_chat_chooses_a_loaded_model_and_answers(server: StandIn):
    with pytest.raises(UnknownOption, match="did you mean seed"):
        Chat(options={"sead": 1})
    chat = Chat(options={"seed": 1}, host=server.url)
    assert chat.markdown() == ""
    assert "run the cell" in chat._repr_mimebundle_()[0]["text/markdown"]
    chat.conversation.system = "Be brief"
    page = Page(chat)
    page.ask(kind="hello")
    assert page.kind("settings")["settings"]["models"] == ["m:1b"]
    page.ask(kind="ask", text="Hi", images=[])
    page.kind("idle")
    assert "".join(said["text"] for said in page.told if said["kind"] == "delta") == "Good day!"
    assert page.kind("end")["reply"]["tokens_per_second"] == 2.0
    assert server.asked[-1]["options"] == {"seed": 1}
    assert [message["content"] for message in chat.messages] == ["Be brief", "Hi", "Good day!"]
    assert chat.markdown() == "**System prompt**\n\nBe brief\n\n> Hi\n\n**m:1b**\n\nGood day!"
    chat.close()


def test_a_question_that_comes_before_the_names_of_models_finds_one(server: StandIn):
    page = Page(Chat(host=server.url))
    page.ask(kind="ask", text="Hi", images=[])
    assert page.kind("end")["reply"]["model"] == "m:1b"
    page.widget.close()


def test_stop_hangs_up(server: StandIn):
    server.endless = True
    chat = Chat("m:1b", host=server.url)
    page = Page(chat)
    page.ask(kind="ask", text="Hi", images=[])
    page.kind("delta")
    page.ask(kind="stop")
    assert page.kind("end")["reply"]["done_reason"] == "stopped"
    assert server.left.wait(10)
    assert chat.conversation.turns[0].replies[0].text.startswith("Good day!")
    chat.close()


def test_closing_a_widget_ends_its_work(server: StandIn):
    server.endless = True
    chat = Chat("m:1b", host=server.url)
    page = Page(chat)
    page.ask(kind="ask", text="Hi", images=[])
    page.kind("delta")
    chat.close()
    assert server.left.wait(10)


def test_what_is_wrong_is_said_in_the_place_of_an_answer(server: StandIn):
    page = Page(Chat("missing", host=server.url))
    page.ask(kind="ask", text="Hi", images=[])
    assert page.kind("end")["reply"]["error"] == "model 'missing' not found"
    page.widget.close()


def test_an_error_within_json_is_told_without_its_braces(server: StandIn):
    inner = '{"error": {"code": 400, "message": "no pictures"}}'
    server.script = lambda request: {"error": inner, "status": 400}
    page = Page(Chat("m:1b", host=server.url))
    page.ask(kind="ask", text="Hi", images=["iVBORw0KGgo="])
    assert page.kind("end")["reply"]["error"] == "no pictures"
    page.widget.close()


def test_a_page_that_answers_in_the_place_of_the_api_is_not_shown():
    told = words(ResponseError("\n<!DOCTYPE HTML>\n<html>…", 404))
    assert told == "a web page answers there, and no API; a Jupyter server has it below /ollama"


def test_without_a_server_a_chat_says_so():
    page = Page(Chat("m", host=NOBODY))
    page.ask(kind="hello")
    assert page.kind("error")["text"] == "the server does not answer: is it running?"
    page.ask(kind="ask", text="Hi", images=[])
    assert page.kind("end")["reply"]["error"] == "the server does not answer: is it running?"
    page.widget.close()


def test_a_conversation_needs_a_notebook_to_become_a_cell():
    with pytest.raises(NotInNotebook, match="there is no notebook"):
        Chat("m").to_cell()


def test_a_manager_carries_requests_below_the_api_and_no_others(server: StandIn):
    page = Page(ModelManager(server.url))
    page.ask(kind="call", page="p", id=1, method="GET", path="/api/version", body=None)
    page.ask(kind="call", page="p", id=2, method="GET", path="/secrets", body=None)
    page.ask(kind="call", page="p", id=3, method="GET", path="/api/nowhere", body=None)
    answers = {number: page.until(lambda s, n=number: s.get("id") == n) for number in (1, 2, 3)}
    assert answers[1]["answer"] == {"version": "0.0.0"}
    assert answers[2]["error"] == "/secrets is not below /api/"
    assert answers[3]["error"].startswith("the server answered 500")
    page.ask(kind="endpoint", page="p", id=4)
    assert page.until(lambda said: said.get("id") == 4)["answer"] == server.url
    page.widget.close()


def test_a_page_that_follows_is_told_that_there_is_no_server():
    page = Page(Telemetry(NOBODY))
    page.ask(kind="follow", page="p")
    assert page.kind("lost")["page"] == "p"
    page.ask(kind="leave", page="p")
    page.widget.close()


def test_a_page_that_left_is_followed_no_more_whatever_comes_late():
    manager = Telemetry(NOBODY)
    page = Page(manager)
    page.ask(kind="follow", page="p")
    page.ask(kind="follow", page="p")
    page.kind("lost")
    page.ask(kind="leave", page="p")
    page.ask(kind="follow", page="p")  # a running cell had kept it
    page.ask(kind="call", page="q", id=1, method="GET", path="/secrets", body=None)
    page.kind("answer")
    assert [said["page"] for said in page.told if said["kind"] == "lost"] == ["p"]
    manager.close()


def test_another_server_is_found_when_one_is_lost(monkeypatch: pytest.MonkeyPatch):
    with standing_in() as first, standing_in() as second:
        monkeypatch.setenv("OLLMLX_HOST", first.url)
        page = Page(ModelManager())
        page.ask(kind="endpoint", page="p", id=1)
        assert page.until(lambda said: said.get("id") == 1)["answer"] == first.url
        monkeypatch.setenv("OLLMLX_HOST", second.url)
        page.ask(kind="endpoint", page="p", id=2)
        assert page.until(lambda said: said.get("id") == 2)["answer"] == second.url
        page.widget.close()


def test_a_page_without_widgets_reads_a_table(server: StandIn):
    bundle, _ = ModelManager(server.url)._repr_mimebundle_()
    assert bundle["text/markdown"] == "| Model | Size |\n|---|--:|\n| `m:1b` | 2 MB |"
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_a_token_view_wants_an_answer_with_log_probabilities():
    bare = ChatResponse(model="m", message={"role": "assistant", "content": "x"})  # type: ignore[arg-type]  # pydantic takes it
    with pytest.raises(NoLogprobs, match="logprobs=True"):
        TokenView(bare)


def test_a_token_view_reads_as_a_table_of_what_was_least_sure():
    top = [{"token": "a", "logprob": -0.5}, {"token": "|", "logprob": -2.0}]
    entry = {"token": "a", "logprob": -0.5, "top_logprobs": top}
    said = ChatResponse.model_validate(
        {"model": "m", "message": {"role": "assistant", "content": "a"}, "logprobs": [entry]}
    )
    view = TokenView(said)
    assert view.tokens[0]["probability"] == pytest.approx(0.6065, abs=1e-4)
    assert view.markdown().endswith("| `a` | 60.7% | `∣` 13.5% |")  # noqa: RUF001  # a look-alike of the bar

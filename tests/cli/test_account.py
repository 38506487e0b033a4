"""`signin` and `signout`, as a scripted server knows the user."""

import webbrowser
from collections.abc import Iterator

import pytest

from ollmlx.cli.program import run
from ollmlx.errors import OllmlxError
from tests.cli.far_end import FarEnd, far_end

PLACE = "https://example.org/connect?key=x"
LINK = f"If your browser did not open, navigate to:\n    {PLACE}\n\n"


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[FarEnd]:
    monkeypatch.delenv("OLLMLX_HOST", raising=False)
    with far_end() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        yield server


@pytest.fixture
def stranger(scripted: FarEnd) -> FarEnd:
    """Knows nobody."""
    scripted.answers["api/me"] = [{"error": "unauthorized", "signin_url": PLACE}]
    scripted.statuses["api/me"] = 401
    return scripted


@pytest.fixture
def browsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pages that were opened: a real browser is nothing for a test."""
    pages: list[str] = []
    monkeypatch.setattr(webbrowser, "open", pages.append)
    return pages


def test_who_has_no_account_is_led_to_one(stranger, browsed, capsys):
    run(["signin"])
    shown = capsys.readouterr().out
    assert shown == f"You need to be signed in to Ollama to run Cloud models.\n\n{LINK}"
    assert browsed == [PLACE]


def test_who_has_one_is_named(scripted, browsed, capsys):
    scripted.answers["api/me"] = [{"name": "me"}]
    run(["login"])
    assert capsys.readouterr().out == "You are already signed in as user 'me'\n\n"
    assert browsed == []


def test_an_account_that_cannot_be_asked_for_is_an_error(scripted):
    scripted.answers["api/me"] = [{"error": "account unavailable"}]
    scripted.statuses["api/me"] = 503
    for words in (["signin"], ["push", "me/m"]):
        with pytest.raises(OllmlxError) as caught:
            run(words)
        assert str(caught.value) == "account unavailable"


def test_a_push_to_ollamas_registry_wants_an_account(stranger, browsed, capsys):
    run(["push", "me/m"])
    shown = capsys.readouterr().out
    assert shown == f"You need to be signed in to push models to ollama.com.\n\n{LINK}"
    assert browsed == []
    assert [asked["path"] for asked in stranger.asked] == ["api/me"]


@pytest.mark.parametrize(
    ("status", "told"),
    [(200, "You have signed out of ollama.com"), (401, "You are not signed in to ollama.com")],
)
def test_signing_out_says_how_it_went(scripted, capsys, status, told):
    scripted.answers["api/signout"] = [{}]
    scripted.statuses["api/signout"] = status
    run(["signout"])
    assert capsys.readouterr().out == f"{told}\n\n"

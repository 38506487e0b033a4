"""Pulls, pushes and updates of a scripted server, and how progress is drawn."""

from collections.abc import Iterator

import pytest

from ollmlx.cli import progress
from ollmlx.cli.program import run
from ollmlx.cli.progress import Bar, Spinner
from ollmlx.errors import OllmlxError
from tests.cli.far_end import FarEnd, far_end

DIGEST = "sha256:" + "6a0746a1ec1a" * 5 + "0123"
PULLED = [
    {"status": "pulling manifest"},
    {"status": "pulling 6a0746a1ec1a", "digest": DIGEST, "total": 2_019_393_189},
    {"status": "pulling 6a0746a1ec1a", "digest": DIGEST, "total": 2_019_393_189, "completed": 9},
    {"status": "verifying sha256 digest"},
    {"status": "success"},
]
ABSENT = [{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}]
_SOURCES = {"m:1": "ollama", "hub/m:latest": "huggingface", "mine:1": "ollmlx", "in:1": "embedded"}
FROM_EVERYWHERE = {
    "api/tags": [{"models": [{"name": name} for name in _SOURCES]}],
    "api/sources": [
        {"models": [{"name": n, "source": s, "path": "/"} for n, s in _SOURCES.items()]}
    ],
}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[FarEnd]:
    monkeypatch.delenv("OLLMLX_HOST", raising=False)
    with far_end() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        yield server


def test_a_pull_tells_a_pipe_each_step_once_and_without_escape_codes(scripted, capsys):
    scripted.answers["api/pull"] = PULLED
    run(["pull", "a", "b", "--insecure"])
    shown = capsys.readouterr()
    assert shown.out == ""
    once = "pulling manifest\npulling 6a0746a1ec1a: 2.0 GB\nverifying sha256 digest\nsuccess\n"
    assert shown.err == once * 2
    assert [(asked["model"], asked["insecure"]) for asked in scripted.asked] == [
        ("a", True),
        ("b", True),
    ]


def test_what_fails_midway_has_the_servers_words(scripted):
    scripted.answers["api/pull"] = ABSENT
    with pytest.raises(OllmlxError) as caught:
        run(["pull", "nope"])
    assert str(caught.value) == "pull model manifest: file does not exist"


def test_what_fails_at_once_has_its_status_before_them(scripted):
    scripted.answers["api/pull"] = [{"error": "invalid model name"}]
    scripted.statuses["api/pull"] = 400
    with pytest.raises(OllmlxError) as caught:
        run(["pull", "a b"])
    assert str(caught.value) == "400 Bad Request: invalid model name"


def test_who_shows_a_jupyter_server_no_token_is_told_where_it_goes(scripted):
    scripted.statuses[""] = 403
    with pytest.raises(OllmlxError, match=r"does not let us in: .* token in OLLAMA_API_KEY"):
        run(["list"])


def test_who_leaves_out_the_mount_of_a_jupyter_server_is_told_where_it_is(scripted):
    scripted.statuses[""] = 405
    with pytest.raises(OllmlxError, match=r"no Ollama API is at (.*); .* it at \1/ollama"):
        run(["list"])


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("localhost:5000/me/m", "localhost:5000/me/m:latest"),
        ("me/m", "https://ollama.com/me/m"),
        ("me/m:1b", "https://ollama.com/me/m:1b"),
    ],
)
def test_a_push_ends_with_where_the_model_is(scripted, capsys, name, place):
    scripted.answers["api/push"] = [{"status": "retrieving manifest"}, {"status": "success"}]
    scripted.answers["api/me"] = [{"name": "me"}]
    run(["push", name])
    assert capsys.readouterr().out == f"\nYou can find your model at:\n\n\t{place}\n"


def test_a_push_that_is_not_allowed_says_where_it_would_be(scripted):
    scripted.answers["api/me"] = [{"name": "me"}]
    scripted.answers["api/push"] = [{"error": "push: Access Denied"}]
    with pytest.raises(OllmlxError, match="create the model under a namespace you own"):
        run(["push", "me/m"])


def test_update_pulls_again_and_leaves_alone_what_is_in_no_registry(scripted, capsys):
    scripted.answers["api/pull"] = ABSENT
    scripted.answers["api/tags"] = [{"models": [{"name": "mine:latest"}]}]
    run(["update", "--all"])
    assert "'mine:latest' is left as it is: it is in no registry\n" in capsys.readouterr().err
    with pytest.raises(OllmlxError, match="file does not exist"):
        run(["update", "mine"])


def test_update_goes_on_behind_a_model_that_cannot_be_pulled(scripted, capsys):
    scripted.answers = {**FROM_EVERYWHERE, "api/pull": [{"error": "no route to host"}]}
    with pytest.raises(OllmlxError, match="not updated: m:1, hub/m:latest"):
        run(["update", "--all"])
    assert "'m:1' is left as it is: no route to host\n" in capsys.readouterr().err


def test_update_pulls_nothing_over_models_that_came_from_elsewhere(scripted):
    scripted.answers = {**FROM_EVERYWHERE, "api/pull": [{"status": "success"}]}
    run(["update", "--all"])
    assert [a["model"] for a in scripted.asked if "model" in a] == ["m:1", "hub/m:latest"]


def test_rm_takes_patterns_and_tells_each_model(scripted, capsys):
    names = [{"name": name} for name in ("x1:latest", "x2:7b", "y:latest")]
    scripted.answers = {
        "api/tags": [{"models": names}],
        "api/show": [{}],
        "api/generate": [{"done": True}],
        "api/delete": [],
    }
    run(["rm", "x*"])
    assert capsys.readouterr().out == "deleted 'x1:latest'\ndeleted 'x2:7b'\n"
    run(["rm", "y:*", "x?"])
    assert capsys.readouterr().out == "deleted 'y:latest'\ndeleted 'x1:latest'\ndeleted 'x2:7b'\n"


def test_a_model_that_cannot_be_stopped_is_deleted_all_the_same(scripted, capsys):
    scripted.answers = {"api/show": [{"error": "busy"}], "api/delete": []}
    scripted.statuses["api/show"] = 500
    run(["rm", "m"])
    shown = capsys.readouterr()
    assert shown.err == "Warning: unable to stop model 'm'\n"
    assert shown.out == "deleted 'm'\n"


def test_rm_says_when_a_model_was_others_too_and_patterns_leave_those_alone(scripted, capsys):
    scripted.answers = {
        **FROM_EVERYWHERE,
        "api/show": [{}],
        "api/generate": [{"done": True}],
        "api/delete": [],
    }
    run(["rm", "*"])
    shown = capsys.readouterr()
    assert shown.out == "deleted 'm:1'\ndeleted 'mine:1'\n"
    assert shown.err == ""
    with pytest.raises(OllmlxError, match="no model matches 'hub/\\*'"):
        run(["rm", "hub/*"])
    run(["rm", "HUB/m"])
    shown = capsys.readouterr()
    assert shown.out == "deleted 'HUB/m'\n"
    assert shown.err.startswith("'HUB/m' was in the Hugging Face cache: other programs")


def test_cp_tells_what_it_copied(scripted, capsys):
    scripted.answers["api/copy"] = [{}]
    run(["cp", "a", "b"])
    assert capsys.readouterr().out == "copied 'a' to 'b'\n"


def test_a_bar_shows_share_counts_rate_and_time_left(monkeypatch):
    clock = iter((100.0, 102.0, 104.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    bar = Bar("pulling 6a0746a1ec1a:", 2_019_393_189, 1)
    bar.set(1_000_000_000)
    bar.set(1_200_000_000)
    shown = bar.drawn(80)
    assert len(shown) == 79
    assert shown.startswith("pulling 6a0746a1ec1a:  59% ▕███")
    assert shown.endswith("▏ 1.2 GB/2.0 GB  100 MB/s      8s")


def test_a_bar_that_is_full_shows_its_size():
    shown = Bar("pulling 6a0746a1ec1a:", 485, 485).drawn(80)
    assert shown == f"pulling 6a0746a1ec1a: 100% ▕{'█' * 18}▏  485 B{'':25}"


def test_a_spinner_stops():
    spinner = Spinner("pulling manifest")
    assert spinner.drawn(80)[:-2] in ("pulling manifest ",)
    spinner.stopped = True
    assert spinner.drawn(80) == "pulling manifest "

"""The benchmarks on echo and toy models: what they count, not how fast anything is."""

import json

import pytest

from ollmlx.bench import against, arguments, engines, masks, rows, texts
from ollmlx.bench.__main__ import run
from ollmlx.bench.contest import Work, hold
from ollmlx.bench.endpoint import Endpoint, find_api
from ollmlx.bench.figures import measure, ratios
from ollmlx.bench.machine import free_port
from ollmlx.bench.report import text
from ollmlx.bench.served import Served
from ollmlx.bench.stall import Load, stall
from ollmlx.bench.timeline import AnswerFailed, Recording, Timeline
from ollmlx.bench.turns import second_turn
from ollmlx.errors import BadRequest
from ollmlx.settings import Settings
from tests.echo import EchoLibrary
from tests.serving import served
from tests.stand_in import standing_in
from tests.toy import ToyModels

BRIEF = ["--streams", "2", "--tokens", "4", "--key", "test"]
WORK = Work(streams=[1, 3], tokens=5, prompt_tokens=20, rounds=2, key="test")


def quietly(words: str) -> None: ...


@pytest.fixture(scope="module")
def url():
    with served(Settings(num_parallel=4), EchoLibrary()) as url:
        yield url


@pytest.fixture
def echo(url) -> Endpoint:
    return Endpoint(url, "ollama", "echo")


@pytest.fixture
def no_models(tmp_path, monkeypatch):
    """Servers that are started here see no models of this machine's user."""
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))


# -- one stream ------------------------------------------------------------------------------------


def recorded(*chunks: bytes) -> Recording:
    recording = Recording(0.0)
    recording.chunks = [(1.0 + number, chunk) for number, chunk in enumerate(chunks)]
    return recording


def test_a_piece_has_the_time_at_which_its_line_was_whole():
    line = b'{"response":"hi","done":false}\n'
    last = b'{"response":"","done":true,"eval_count":7,"prompt_eval_count":3}\n'
    timeline = recorded(line + line[:5], line[5:], last).timeline()
    assert timeline.stamps == (1.0, 2.0)
    assert (timeline.first, timeline.gaps) == (1.0, [1.0])
    assert (timeline.tokens, timeline.prompt_tokens, timeline.text) == (7, 3, "hihi")


def test_events_of_the_openai_api_are_understood():
    timeline = recorded(
        b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n: comment\n',
        b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
        b'data: {"choices":[{"text":"b"}]}\n\n',
        b'data: {"choices":[],"usage":{"completion_tokens":9,"prompt_tokens":4}}\n\n',
        b"data: [DONE]\n\n",
    ).timeline()
    assert (timeline.text, timeline.tokens, timeline.prompt_tokens) == ("ab", 9, 4)
    assert timeline.stamps == (2.0, 3.0)


def test_pieces_count_where_a_server_does_not():
    timeline = recorded(b'{"response":"a"}\n{"response":"b"}\n').timeline()
    assert timeline.tokens == 2


def test_an_answer_of_end_tokens_alone_has_the_time_of_its_end():
    timeline = recorded(b'{"response":"","done":true,"eval_count":1}\n').timeline()
    assert (timeline.stamps, timeline.tokens, timeline.text) == ((1.0,), 1, "")


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (b'{"response":"a"}\n{"error":"it broke"}\n', "it broke"),
        (b'data: {"error":{"message":"it broke","type":"x"}}\n', "it broke"),
        (b'{"done":true}\n', "no text"),
        (b'{"response"\n', "not JSON"),
    ],
)
def test_a_stream_that_is_no_answer_fails(chunk, reason):
    with pytest.raises(AnswerFailed, match=reason):
        recorded(chunk).timeline()


# -- figures ---------------------------------------------------------------------------------------


def test_a_round_is_counted_over_all_its_streams():
    fast = Timeline(0.0, (1.0, 1.5, 2.0), 3, 10)
    slow = Timeline(0.0, (2.0, 3.0), 2, 10)
    figures = measure([fast, slow], 3, cpu=1.0)
    assert figures.aggregate == pytest.approx(5 / 3)
    assert figures.per_stream == pytest.approx((2.0 + 1.0) / 2)
    assert (figures.ttft_median, figures.gap_worst) == (1.5, 1.0)
    assert (figures.ended_early, figures.cpu_per_token, figures.prompt_tokens) == (1, 0.2, 20)


def test_a_step_is_a_gap_while_all_streams_write():
    early = Timeline(0.0, (1.0, 5.0, 6.0, 7.0), 4)
    late = Timeline(0.0, (5.0, 6.0, 7.0, 17.0), 4)
    assert measure([early, late], 4, cpu=None).step == 1.0


def test_a_ratio_is_the_median_of_rounds_and_not_of_medians():
    def round_with(tokens: int) -> object:
        return measure([Timeline(0.0, (0.5, 1.0), tokens)], tokens, cpu=None)

    mine = [round_with(10), round_with(40), round_with(90)]
    theirs = [round_with(10), round_with(20), round_with(30)]
    found = ratios(mine, theirs)
    assert found["aggregate"] == pytest.approx(2)
    assert "cpu_per_token" not in found


# -- prompts ---------------------------------------------------------------------------------------


def test_every_stream_has_a_prompt_of_its_own_and_a_key_brings_them_back():
    first, again, other = (texts.prompts(key, 16, 40) for key in ("a", "a", "b"))
    assert first == again
    assert len({prompt[:40] for prompt in first + other}) == 32


# -- servers ---------------------------------------------------------------------------------------


def test_servers_are_compared_with_the_first(echo, url):
    outcome = against.streams([echo, Endpoint(url, "openai", "echo")], WORK, quietly)
    assert [(result.streams, result.error) for result in outcome.results] == [
        *((1, ""), (1, "")),
        *((3, ""), (3, "")),
    ]
    assert [result.medians.tokens for result in outcome.results] == [5, 5, 15, 15]
    assert outcome.results[0].ratios["aggregate"] == 1
    assert outcome.results[1].ratios["aggregate"] > 0
    assert "tok/s" in text(outcome)


def test_a_server_that_fails_is_named_and_the_others_go_on(echo, url):
    nobody = Endpoint(f"http://127.0.0.1:{free_port()}", "ollama", "echo")
    stranger = Endpoint(url, "ollama", "stranger")
    outcome = against.streams([nobody, stranger, echo], WORK, quietly)
    unreachable, missing, working = outcome.results[:3]
    assert "ConnectionRefusedError" in unreachable.error
    assert "404" in missing.error
    assert (working.error, working.medians.tokens) == ("", 5)
    assert "failed at 1 streams: ConnectionRefusedError" in text(outcome)


def test_each_round_begins_with_another():
    order = []

    class Contestant:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, prompts, tokens):
            order.append(self.name)
            return [Timeline(0.0, (1.0, 2.0), tokens) for _ in prompts]

        def cpu_seconds(self):
            return None

    work = Work([1], tokens=2, prompt_tokens=8, rounds=3, key="test")
    hold([Contestant("a"), Contestant("b")], work, quietly)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"


def test_the_api_is_found_out(url):
    assert find_api(url) == "ollama"
    assert find_api(f"{url}/elsewhere") == "openai"


def test_options_are_one_for_all_or_one_for_each_url():
    two = ["--url", "http://a", "--url", "http://b", "--api", "openai"]
    models = ["--model", "x", "--model", "y"]
    a, b = arguments.endpoints(arguments.parse([*two, *models]))
    assert (a.model, a.api, b.model, b.api) == ("x", "openai", "y", "openai")
    with pytest.raises(BadRequest, match="--model"):
        arguments.endpoints(arguments.parse([*two, *models, "--model", "z"]))


def test_a_server_that_is_not_there_stops_no_other(url, capsys):
    urls = ["--url", url, "--url", f"http://127.0.0.1:{free_port()}"]
    assert run([*urls, "--model", "echo", "--streams", "1", "--tokens", "3", "--rounds", "1"]) == 1
    said = capsys.readouterr().out
    assert "tok/s" in said
    assert "failed at 1 streams: ConnectionRefusedError" in said


def test_a_second_turn_is_held_against_a_cold_one(echo):
    (result,) = second_turn([echo], history=30, rounds=2, key="test", tell=quietly).results
    assert (len(result.cold), len(result.second), result.error) == (2, 2, "")
    assert result.ratio > 0


def test_gaps_before_and_during_a_long_prompt_are_told_apart(echo):
    load = Load(streams=2, prompt_tokens=60, rounds=1, key="test")
    (result,) = stall([echo], load, quietly).results
    assert result.error == ""
    assert result.before_worst >= result.before_p50 > 0
    assert result.ttft > 0


# -- engines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gguf", "mlx"])
def test_bare_engines_write_as_many_tokens_as_ours(toy: ToyModels, kind: str, no_models):
    work = Work([3], tokens=6, prompt_tokens=20, rounds=1, key="test")
    path = str(getattr(toy, kind))
    with engines.in_process(path, 3, 1) as ours, engines.bare(path, 3, 1) as bare:
        results = hold([ours, bare], work, quietly)
    assert [result.error for result in results] == ["", ""]
    assert [result.medians.tokens for result in results] == [18, 18]
    assert results[0].medians.prompt_tokens == results[1].medians.prompt_tokens


def test_overhead_is_measured_and_written_down(toy: ToyModels, tmp_path, no_models, capsys):
    file = tmp_path / "overhead.json"
    options = [*BRIEF, "--rounds", "1", "--threads", "1"]
    run(["overhead", "--model", str(toy.gguf), *options, "--json", str(file)])
    found = json.loads(file.read_bytes())
    assert [result["name"] for result in found["results"]] == ["in process", "ollmlx over HTTP"]
    assert [result["medians"]["tokens"] for result in found["results"]] == [8, 8]
    assert found["machine"]["cpus"]
    assert {"python", "ollmlx", "llama-cpp-python"} <= set(found["versions"])
    assert "ollmlx over HTTP" in capsys.readouterr().out


def test_jupyter_is_listened_to_while_it_streams(toy: ToyModels, tmp_path, no_models):
    file = tmp_path / "lag.json"
    options = [*BRIEF, "--idle", "1"]
    run(["lag", "--model", str(toy.gguf), *options, "--json", str(file)])
    phases = {lag["phase"]: lag for lag in json.loads(file.read_bytes())["results"]}
    assert list(phases) == ["loading", "idle", "streaming"]
    assert phases["idle"]["beats"]["count"] > 1
    assert phases["idle"]["polls"]["count"] > 1
    assert phases["streaming"]["tokens"] == 8


def test_served_processor_time_is_that_of_the_whole_family(echo):
    served = Served("echo", echo)
    before = served.cpu_seconds()
    served.run(["some words to say back"] * 20, 20)
    assert served.cpu_seconds() > before


# -- tables ----------------------------------------------------------------------------------------


def test_a_table_is_held_against_the_same_questions_in_a_loop():
    with standing_in() as server:
        server.words = ['{"mood": "happy", "topic": "food", "urgent": true}']
        outcome = rows.rows(Endpoint(server.url, "ollama", "m"), 3, 2, "key", lambda _: None)
    result = outcome.results[0]
    assert (len(result.loop_seconds), len(result.map_seconds)) == (2, 2)
    asked = [request["messages"][0]["content"] for request in server.asked]
    assert len(asked) == len(set(asked)) == 1 + 2 * 2 * 3
    assert outcome.bars[0].value == result.ratio


# -- grammars --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gguf", "mlx"])
def test_answers_of_a_format_are_held_against_free_ones(toy: ToyModels, kind: str, no_models):
    work = Work([2], tokens=6, prompt_tokens=20, rounds=1, key="test")
    outcome = against.grammars(str(getattr(toy, kind)), 1, 0.8, work, quietly)
    assert not outcome.failures
    names = [result.name for result in outcome.results]
    assert names == ["free text", "one long text", "records"]
    assert [result.medians.tokens for result in outcome.results] == [12, 12, 12]
    assert [bar.what.partition(":")[0] for bar in outcome.bars] == names[1:]


def test_a_grammar_is_held_against_choosing_without_one():
    outcome = masks.masks(3000, 10_000, 2, lambda _: None)
    costs = outcome.results[0]
    assert len(costs.free) == len(costs.constrained) == len(costs.mask) > 100
    assert [row[0] for row in outcome.table[1:]] == ["free", "constrained", "mask"]
    assert len(outcome.bars) == 2

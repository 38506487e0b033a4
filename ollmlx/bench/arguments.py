"""The command line of the benchmarks."""

import argparse
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ollmlx.bench.endpoint import Api, Endpoint, find_api
from ollmlx.bench.timeline import AnswerFailed
from ollmlx.errors import BadRequest

MODEL = "smollm2:135m"
_MEASURES = {
    "streams": "servers side by side at 1, 4, 8 and 16 streams (what no name means)",
    "second-turn": "time to first token of a chat's second turn, against cold",
    "stall": "what a long prompt does to streams that run",
    "overhead": "our server against its own backend in this process",
    "bare": "our server against bare mlx-lm or llama.cpp",
    "grammars": "answers of a format against free ones, by an installed model in this process",
    "masks": "what a grammar adds to the choice of a token",
    "rows": "a table by ollmlx.map, against a loop over the plain client",
    "lag": "event-loop lag of a Jupyter server while it streams",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    given = list(arguments)
    if not given or given[0] not in (*_MEASURES, "-h", "--help"):
        given.insert(0, "streams")
    return _parser().parse_args(given)


def endpoints(options: argparse.Namespace) -> list[Endpoint]:
    """Those that `--url` names.  Raises `BadRequest`."""
    urls: list[str] = options.url
    models = _each("--model", options.model, urls, MODEL)
    tokens = _each("--token", options.token, urls, "")
    apis = _each("--api", options.api, urls, "")
    return [
        _endpoint(*named, options.options) for named in zip(urls, models, tokens, apis, strict=True)
    ]


def _endpoint(url: str, model: str, token: str, named: str, options: dict[str, Any]) -> Endpoint:
    api: Api = "ollama" if named == "ollama" else "openai"
    if not named:
        with suppress(AnswerFailed):  # it fails again where it is measured, and is reported there
            api = find_api(url, token)
    # The OpenAI API has no place for them.
    return Endpoint(url, api, model, token, options if api == "ollama" else {})


def _each(option: str, values: list[str] | None, urls: list[str], default: str) -> list[str]:
    """One value for each URL, of as many or of one for all."""
    values = values or [default]
    if len(values) not in (1, len(urls)):
        raise BadRequest(f"{option}: give it once, or once for each of the {len(urls)} URLs")
    return values * len(urls) if len(values) == 1 else values


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m ollmlx.bench", description=__doc__)
    commands = parser.add_subparsers(dest="measure", required=True, metavar="MEASURE")
    parts: dict[str, list[argparse.ArgumentParser]] = {
        "streams": [_servers(), _load()],
        "second-turn": [
            _servers(),
            _rounds(),
            _sized("--history", 1500, "tokens of the first turn"),
        ],
        "stall": [
            *(_servers(), _rounds(), _sized("--streams", 4, "streams that run")),
            _sized("--prompt-tokens", 2048, "tokens of the prompt that arrives"),
        ],
        "overhead": [_model(), _load(), _threads()],
        "bare": [_model(), _load(), _threads()],
        "grammars": [_model(), _load(), _threads(), _heat()],
        "masks": [
            *(_rounds(), _sized("--vocabulary", 128_256, "tokens that the model knows")),
            _sized("--step", 10_000, "microseconds that the device takes for a token"),
        ],
        "rows": [_model(), _rounds(), _sized("--rows", 200, "rows of the table")],
        "lag": [
            *(_model(), _sized("--streams", 16, "streams at once")),
            *(_sized("--tokens", 32, "tokens a stream"), _sized("--idle", 5, "seconds of quiet")),
        ],
    }
    for name, words in _MEASURES.items():
        commands.add_parser(name, help=words, description=words, parents=[*parts[name], _record()])
    return parser


def _group() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(add_help=False)


def _record() -> argparse.ArgumentParser:
    group = _group()
    group.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there")
    words = "names the prompts: the same key, the same prompts (default: fresh ones)"
    group.add_argument("--key", default=secrets.token_hex(4), help=words)
    return group


def _servers() -> argparse.ArgumentParser:
    group = _group()
    words = "a server; give several to compare them (default: `ollmlx serve`, started for this)"
    group.add_argument("--url", action="append", default=[], help=words)
    group.add_argument("--model", action="append", help=f"one for all or one a URL ({MODEL})")
    group.add_argument(
        *("--api",), action="append", choices=("ollama", "openai"), help="default: found out"
    )
    group.add_argument("--token", action="append", help="bearer token, for all or one a URL")
    words = 'options of every request to the Ollama API, such as {"num_ctx": 8192}'
    group.add_argument("--options", type=_object, default={}, metavar="JSON", help=words)
    return group


def _model() -> argparse.ArgumentParser:
    group = _group()
    group.add_argument("--model", default=MODEL, help=f"an installed model ({MODEL})")
    return group


def _load() -> argparse.ArgumentParser:
    group = _rounds()
    group.add_argument(
        *("--streams",), type=_counts, default=[1, 4, 8, 16], help="streams at once (1,4,8,16)"
    )
    group.add_argument("--tokens", type=_positive, default=32, help="tokens a stream writes (32)")
    words = "tokens of each prompt, about (64)"
    group.add_argument("--prompt-tokens", type=_positive, default=64, help=words)
    return group


def _rounds() -> argparse.ArgumentParser:
    return _sized("--rounds", 3, "rounds, each with fresh prompts")


def _threads() -> argparse.ArgumentParser:
    group = _group()
    words = "threads of llama.cpp on both sides (what each chooses)"
    group.add_argument("--threads", type=_positive, default=0, help=words)
    return group


def _heat() -> argparse.ArgumentParser:
    group = _group()
    words = "0 is greedy, and what draws tokens is above (0)"
    group.add_argument("--temperature", type=float, default=0.0, help=words)
    return group


def _sized(option: str, default: int, words: str) -> argparse.ArgumentParser:
    group = _group()
    group.add_argument(option, type=_positive, default=default, help=f"{words} ({default})")
    return group


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _counts(text: str) -> list[int]:
    return [_positive(part.strip()) for part in text.split(",")]


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return value

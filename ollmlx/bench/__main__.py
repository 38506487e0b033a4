"""`python -m ollmlx.bench`: measure, print a table, write a document."""

import argparse
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

from ollmlx.bench import against, arguments, lag, machine, masks, report, rows, stall, turns
from ollmlx.bench.contest import Work
from ollmlx.bench.endpoint import Endpoint
from ollmlx.bench.report import Outcome
from ollmlx.errors import OllmlxError


def main() -> NoReturn:
    # Servers that were started here end with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(run(sys.argv[1:]))
    except OllmlxError as error:
        sys.exit(f"Error: {error}")


def run(given: list[str]) -> int:
    """1 where a bar is missed or somebody failed.

    Raises `OllmlxError` for what makes measuring impossible.
    """
    options = arguments.parse(given)
    outcome = _measure(options)
    if options.json:
        said = {
            name: value for name, value in vars(options).items() if name not in ("json", "token")
        }
        report.write(options.json, report.document(options.measure, said, outcome))
    sys.stdout.write(f"{report.text(outcome)}\n")
    return int(bool(outcome.failures) or not all(bar.met for bar in outcome.bars))


def _measure(options: argparse.Namespace) -> Outcome:
    match options.measure:
        case "streams":
            with _servers(options, max(options.streams)) as servers:
                return against.streams(servers, _work(options), _tell)
        case "second-turn":
            with _servers(options, 1) as servers:
                return turns.second_turn(
                    servers, options.history, options.rounds, options.key, _tell
                )
        case "stall":
            with _servers(options, options.streams + 1) as servers:
                load = stall.Load(
                    options.streams, options.prompt_tokens, options.rounds, options.key
                )
                return stall.stall(servers, load, _tell)
        case "overhead":
            return against.overhead(options.model, options.threads, _work(options), _tell)
        case "bare":
            return against.bare(options.model, options.threads, _work(options), _tell)
        case "grammars":
            heat = options.temperature
            return against.grammars(options.model, options.threads, heat, _work(options), _tell)
        case "masks":
            return masks.masks(options.vocabulary, options.step, options.rounds, _tell)
        case "rows":
            with machine.ollmlx_server(slots=rows.SLOTS) as ours:
                table = Endpoint(ours.url, "ollama", options.model)
                return rows.rows(table, options.rows, options.rounds, options.key, _tell)
    return lag.lag(options.model, options.streams, options.tokens, options.idle, options.key, _tell)


def _work(options: argparse.Namespace) -> Work:
    sizes = (options.tokens, options.prompt_tokens, options.rounds)
    return Work(options.streams, *sizes, options.key)


@contextmanager
def _servers(options: argparse.Namespace, slots: int) -> Generator[list[Endpoint], None, None]:
    """The servers that were named, or one of ours for as long as the block lasts."""
    if options.url:
        yield arguments.endpoints(options)
        return
    with machine.ollmlx_server(slots) as ours:
        options.url = [ours.url]
        yield arguments.endpoints(options)


def _tell(text: str) -> None:
    """What is going on, on a terminal; nothing in a log."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}\r")
        sys.stderr.flush()


if __name__ == "__main__":
    main()

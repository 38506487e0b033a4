"""`ollmlx.map`: one question about many rows, as many at once as the server answers."""

import asyncio
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import ollama
from ollama import ChatResponse

from ollmlx.batch.beside import run_beside
from ollmlx.batch.frames import Outcome, Table, table
from ollmlx.batch.kept import OF_THIS_KERNEL, InFile, Kept, keys
from ollmlx.batch.progress import Bar, NoBar, drawn, duration, new_bar
from ollmlx.batch.questions import Prompt, questions
from ollmlx.batch.shapes import Misshapen, Shape, shape
from ollmlx.client import AsyncClient, Client, check_options, default_model
from ollmlx.errors import BadRequest, InOneLine, OllmlxError

PARALLEL = 16
"""Requests in flight at a server that does not tell how many answers it writes at once."""
_FOR_A_PLACE = 2
"""Requests in flight for each of those answers: none waits for the next question."""
EMBEDDED_AT_ONCE = 64
"""Texts in one request."""
_FIRST_PAUSE_SECONDS = 0.5
_REQUEST = ("options", "think", "keep_alive")
"""What of a request is for the caller to say."""
_OF_ALL = (401, 403, 404)
"""Statuses that every row would meet: who asks, or the model, is refused."""
_PASSING = (408, 429, 500, 502, 503, 504)
"""Statuses that another try may not meet again."""


class RowsFailed(UserWarning):
    """Some rows have no answer; asking again asks for these alone."""


class ServerLost(InOneLine, OllmlxError, ConnectionError):
    """It went away while it was asked about rows."""


class Stopped(InOneLine, KeyboardInterrupt):
    """The user stopped a batch.  `Run All` must stop too, hence an interrupt."""


def map(
    rows: Any,
    prompt: Prompt,
    schema: Any = None,
    *,
    model: str = "",
    system: str = "",
    parallel: int = 0,
    retries: int = 2,
    keep: str | Path | None = None,
    host: str | None = None,
    **request: Any,
) -> Any:
    """Ask `prompt` about each row: a list in → a list out, a Series or a frame in → columns out.

    `{}` in the prompt is the row, `{name}` one of its columns; a function of the row makes the
    prompt itself.  `schema` is what `%%ollmlx --format` takes; answers are then its values, and a
    frame has a column for each field.  `request` is a chat's `options`, `think`, `keep_alive`.  A
    row whose request fails `retries` times more is None, named in a warning and in the column
    `error`; a row without a value is None, too.  `parallel` requests are under way at once; 0 is as
    many as keep the server busy.

    Rows that are answered are kept when the batch is interrupted or rows fail: the same call goes
    on from there.  With `keep`, a file, they outlive the kernel.

    Raises `NoServer`, `ServerLost`, `BadRequest` for rows and prompts that do not fit,
    `ollama.ResponseError` for a model that is not there or a caller unknown, and `Stopped`.
    """
    wanted, given = shape(schema), rows if isinstance(rows, Table) else table(rows)
    if parallel < 0 or retries < 0:
        raise BadRequest("parallel and retries are numbers from 0 up")
    _check(request)
    shared = {"model": model or _any_model(host), "format": wanted.format, **request}
    instruction = [{"role": "system", "content": system}] if system else []
    asked = questions(prompt, given.rows)
    requests = [
        {**shared, "messages": [*instruction, {"role": "user", "content": question}]}
        for question in asked.values()
    ]
    kept = InFile(Path(keep)) if keep else OF_THIS_KERNEL
    batch = _Batch(requests, wanted, kept, retries)
    batch.ask_all(host, parallel)
    found = dict(zip(asked, batch.outcomes, strict=True))
    outcomes = [found.get(number, Outcome(None)) for number in range(len(given.rows))]
    made = given.build(outcomes, wanted.example)
    batch.forget()
    _warn(outcomes)
    return made


def _check(request: Mapping[str, Any]) -> None:
    """Raises `BadRequest` for what a chat would refuse in each row, or ignore."""
    if unknown := sorted(request.keys() - set(_REQUEST)):
        raise BadRequest(
            f"map takes {', '.join(_REQUEST)} of a chat's arguments, not {', '.join(unknown)}; "
            "what the API calls options goes into options={…}"
        )
    check_options(request.get("options"))


def _any_model(host: str | None) -> str:
    with Client(host) as client:
        return default_model(client)


def embed(rows: Any, model: str, *, host: str | None = None, **request: Any) -> Any:
    """The embedding of each row's text, of the kind that `map` gives.  `request` is `embed`'s."""
    check_options(request.get("options"))
    given = table(rows)
    texts = questions("{}", given.rows)
    numbers, outcomes = list(texts), [Outcome(None) for _ in given.rows]
    bar = new_bar() if len(numbers) > EMBEDDED_AT_ONCE else NoBar()
    with Client(host) as client:
        for start in range(0, len(numbers), EMBEDDED_AT_ONCE):
            some = numbers[start : start + EMBEDDED_AT_ONCE]
            embedded = client.embed(model, [texts[number] for number in some], **request)
            for number, vector in zip(some, embedded.embeddings, strict=True):
                outcomes[number] = Outcome(list(vector))
            done = start + len(some)
            words = f"{done}/{len(numbers)} rows"
            bar.show(drawn(done / len(numbers), words), final=done == len(numbers))
    return given.build(outcomes, [0.0])


@dataclass
class _Failure:
    why: str


class _Batch:
    """The requests, and what became of each."""

    def __init__(
        self, requests: Sequence[Mapping[str, Any]], wanted: Shape, kept: Kept, retries: int
    ) -> None:
        self._requests, self._wanted, self._kept = requests, wanted, kept
        self._tries = retries + 1
        self._keys = keys(requests)
        self._values: dict[int, Any] = dict(self._remembered())
        self._began_with = len(self._values)
        self._started = time.monotonic()

    @property
    def outcomes(self) -> list[Outcome]:
        return [
            Outcome(None, value.why) if isinstance(value, _Failure) else Outcome(value)
            for value in (self._values[number] for number in range(len(self._requests)))
        ]

    def ask_all(self, host: str | None, parallel: int) -> None:
        """Raises `Stopped`, and what every row would meet."""
        bar = new_bar()
        try:
            run_beside(self._ask(host, parallel), lambda: self._show(bar))
        except KeyboardInterrupt:
            self._show(bar, final=True)
            done, total = len(self._values), len(self._requests)
            raise Stopped(
                f"stopped after {done} of {total} rows; they are kept, the same call goes on"
            ) from None
        self._show(bar, final=True)

    def forget(self) -> None:
        """What is kept of it, unless rows failed."""
        if not any(isinstance(value, _Failure) for value in self._values.values()):
            self._kept.forget(self._keys)

    def _remembered(self) -> Iterator[tuple[int, Any]]:
        for number, key in enumerate(self._keys):
            if (text := self._kept.get(key)) is not None:
                with suppress(Misshapen):  # a validator may have been written since
                    yield number, self._wanted.read(text)

    async def _ask(self, host: str | None, parallel: int) -> None:
        numbers = [n for n in range(len(self._requests)) if n not in self._values]
        if not numbers:
            return
        async with AsyncClient(host) as client:
            count = min(parallel or await self._in_flight(client), len(numbers))
            missing = iter(numbers)
            takers = [asyncio.create_task(self._take(client, missing)) for _ in range(count)]
            try:
                await asyncio.gather(*takers)
            finally:
                for taker in takers:
                    taker.cancel()
                await asyncio.gather(*takers, return_exceptions=True)

    async def _in_flight(self, client: AsyncClient) -> int:
        first = self._requests[0]
        # A model that cannot be loaded is told by its rows, which have their tries.
        with suppress(ollama.ResponseError, httpx.HTTPError, ConnectionError):
            places = await client.places(first["model"], first.get("options"))
            return _FOR_A_PLACE * places or PARALLEL
        return PARALLEL

    async def _take(self, whose: AsyncClient, missing: Iterator[int]) -> None:
        """Ask for row after row, each the next that nobody has taken."""
        async with whose.alone() as client:
            for number in missing:
                try:
                    text, value = await self._answer(client, self._requests[number])
                    self._kept.put(self._keys[number], text)
                    self._values[number] = value
                except (Misshapen, _Refused) as error:
                    self._values[number] = _Failure(str(error))
                except (httpx.HTTPError, ConnectionError) as error:
                    raise ServerLost(
                        f"no server answers at {whose.server.place}, after {len(self._values)} of "
                        f"{len(self._requests)} rows; they are kept, the same call goes on"
                    ) from error

    async def _answer(
        self, client: ollama.AsyncClient, request: Mapping[str, Any]
    ) -> tuple[str, Any]:
        """Raises `Misshapen` and `_Refused` for this row, anything else for them all."""
        for attempt in range(1, self._tries + 1):
            last = attempt == self._tries
            try:
                answered: ChatResponse = await client.chat(**request)
                text = answered.message.content or ""
                return text, self._wanted.read(text)
            except Misshapen as error:
                if answered.done_reason == "length":  # another would run out of tokens again
                    raise Misshapen(f"{error}; it was cut off: num_predict allows more") from error
                if last:
                    raise
            except ollama.ResponseError as error:
                if error.status_code in _OF_ALL:
                    raise
                if last or error.status_code not in _PASSING:
                    raise _Refused(error.error) from error
            except UnicodeEncodeError as error:
                raise _Refused(f"no text that could be sent: {error}") from error
            except (httpx.HTTPError, ConnectionError):
                if last:
                    raise
            await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def _show(self, bar: Bar, final: bool = False) -> None:
        done, total = len(self._values), len(self._requests)
        seconds = time.monotonic() - self._started
        rate = (done - self._began_with) / seconds if seconds else 0.0
        failed = sum(isinstance(value, _Failure) for value in self._values.values())
        words = [f"{done}/{total} rows", f"{rate:.1f} rows/s"]
        if final:
            words.append(duration(seconds))
        elif rate:
            words.append(f"{duration((total - done) / rate)} left")
        if failed:
            words.append(f"{failed} failed")
        bar.show(drawn(done / total if total else 1.0, ", ".join(words)), final)


class _Refused(OllmlxError):
    """The server refused one row."""


def _depth() -> int:
    """How far away the caller's own line is, as `warnings.warn` counts from the caller of this."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back and frame.f_globals["__name__"].startswith("ollmlx."):
        frame, depth = frame.f_back, depth + 1
    return depth


def _warn(outcomes: Sequence[Outcome]) -> None:
    failed = {number: o.error for number, o in enumerate(outcomes) if o.error}
    if failed:
        first = next(iter(failed))
        warnings.warn(
            f"{len(failed)} of {len(outcomes)} rows failed, the first is row {first}: "
            f"{failed[first]}; the same call asks for these again",
            RowsFailed,
            stacklevel=_depth(),
        )

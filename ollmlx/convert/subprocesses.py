"""Conversions in processes of their own: an engine's crash there costs the conversion alone.

The child writes a JSON object a line on its standard output: `{"done": 3, "of": 12}`, and
`{"error": …, "status": …}` as the last one when it gives up.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

from ollmlx.errors import OllmlxError, with_status

_LONGEST_LINE = 1 << 20


class ConversionDied(OllmlxError):
    """The process ended without a word of its own; what it had said is the message."""


async def progress(module: str, *arguments: str) -> AsyncGenerator[dict[str, Any], None]:
    """Run a module of ours; its lines.  Closing this kills it.

    Raises `ConversionDied`, or the error that it reports.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "GGML_NO_BACKTRACE": "1"},
    )
    assert process.stdout
    assert process.stderr
    said = asyncio.ensure_future(process.stderr.read())
    try:
        async for line in process.stdout:
            found = json.loads(line)
            if "error" in found:
                raise with_status(found.get("status", 500), found["error"])
            yield found
        if await process.wait():
            words = (await said).decode("utf-8", "replace").strip().splitlines()[-3:]
            reason = "; ".join(words) or "without a word"
            raise ConversionDied(f"{module} ended with {process.returncode}: {reason}")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        said.cancel()


def child(work: Callable[[list[str]], None]) -> None:
    """The child's side: do the work that the arguments name, and report what goes wrong."""
    sys.stdout = sys.stderr  # libraries print; the pipe is for `tell`
    try:
        work(sys.argv[1:])
    except OllmlxError as error:
        tell(error=str(error), status=error.status)
        sys.exit(1)


def tell(**facts: Any) -> None:
    """One line to the parent."""
    assert sys.__stdout__
    sys.__stdout__.write(json.dumps(facts) + "\n")
    sys.__stdout__.flush()

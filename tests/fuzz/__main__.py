"""`python -m tests.fuzz [COUNT] [SEED]`: ten thousand requests that nobody should send."""

import asyncio
import itertools
import re
import sys
import tempfile
import time
from pathlib import Path

from tests.bert import make_toy_bert
from tests.fuzz.firing import fire, serving
from tests.fuzz.mutations import sample
from tests.toy import make_toy


def main(count: int = 10_000, seed: int = 0) -> int:
    asks = sample(count, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toy, bert = make_toy(folder / "toy", scripted=True), make_toy_bert(folder / "bert")
        with serving(folder, toy.gguf, bert) as server:
            started = time.monotonic()
            wrong = asyncio.run(fire(server.url, asks))
            seconds = time.monotonic() - started
    for _, faults in itertools.groupby(sorted(wrong, key=_kind), key=_kind):
        first, *rest = faults
        sys.stdout.write(f"{len(rest) + 1} x {first}\n")
    sys.stdout.write("".join(server.log) if wrong else "")
    sys.stdout.write(f"{len(asks)} requests in {seconds:.0f} s, {len(wrong)} answered wrongly\n")
    return 1 if wrong else 0


def _kind(fault: str) -> str:
    """The same for faults that differ in what they quote."""
    return re.sub(r'\\".*?\\"|\d+', "", fault.partition("\n    ")[0])[:90]


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))

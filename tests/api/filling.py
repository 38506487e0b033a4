"""Run as `python -m tests.api.filling ROOT GGUF MLX REGISTRY`: change a store whose disk takes no
file over a few kilobytes, as one does that is full; prints the error of each change, and what is
wrong with what is left.
"""

import asyncio
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from ollmlx import names
from ollmlx.api import transfers
from ollmlx.api.engine import Engine
from ollmlx.convert import convert
from ollmlx.engine.pool import Pool
from ollmlx.errors import OllmlxError
from ollmlx.settings import Settings
from tests.api.killing import Place, create, prepare, problems

LARGEST = 6000
CACHED = "hf.co/me/tiny:Q8_0"
WORDS = "x" * 2 * LARGEST


def pull(place: Place, registry: str) -> None:
    settings = Settings(models=place.root)
    engine = Engine(settings, place.library, Pool(settings))

    async def run() -> None:
        async for _ in transfers.pulling(engine, f"{registry}/me/m:1", insecure=True):
            pass

    asyncio.run(run())


def changes(place: Place, registry: str, files: dict[str, str]) -> dict[str, Callable[[], object]]:
    store, target = place.store, place.store.folder(names.parse("converted"))
    return {
        "blob": lambda: store.shelf.blobs.add_file(place.gguf),
        "create": lambda: create(place, model="a", from_="base", system=WORDS),
        "create MLX": lambda: create(place, model="b", from_="folder", system=WORDS),
        "quantise MLX": lambda: create(place, model="c", files=files, quantize="int8-g32"),
        "copy": lambda: store.copy(place.library.find(CACHED), names.parse("d")),
        "convert": lambda: convert(place.gguf, target),
        "pull": lambda: pull(place, registry),
    }


def main(place: Place, registry: str) -> None:
    prepare(place)
    cache = place.root / "hub/models--me--tiny"
    for folder in ("refs", "snapshots/abc"):
        (cache / folder).mkdir(parents=True)
    (cache / "refs/main").write_text("abc")
    (cache / "snapshots/abc/tiny-Q8_0.gguf").symlink_to(place.gguf)
    blobs = place.store.shelf.blobs
    files = {path.name: blobs.add_file(path).digest for path in place.mlx.iterdir()}
    import ollmlx.convert.gguf_to_mlx  # noqa: F401  # now, while its caches can be written

    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
    told = {}
    for name, change in changes(place, registry, files).items():
        try:
            change()
        except OllmlxError as error:
            told[name] = str(error)
    left = [path.name for path in place.root.rglob("*") if path.name.startswith("sha256-")]
    short = [name for name in left if len(name) < 71]
    sys.stdout.write(json.dumps({"told": told, "wrong": problems(place) + short}))


if __name__ == "__main__":
    main(Place(*map(Path, sys.argv[1:4])), sys.argv[4])

"""Run as `python -m tests.api.killing KIND TIMES ROOT GGUF MLX`: change a store, and be killed at
random moments; look at what is left each time, and in the end finish undisturbed.  Prints what is
wrong.

A timer without a handler ends the child as suddenly as `kill -9` would.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ollmlx import names
from ollmlx.api.answers import Stream, Whole
from ollmlx.api.creating import create as creating
from ollmlx.api.engine import Engine
from ollmlx.convert import convert
from ollmlx.engine.pool import Pool
from ollmlx.errors import OllmlxError
from ollmlx.settings import Settings
from ollmlx.store.changes import Changes, link_weights
from ollmlx.store.library import Library
from ollmlx.store.ollama.blobs import digest_of
from ollmlx.store.ollama.config import Config
from ollmlx.store.ollama.making import Making
from ollmlx.store.weights import readers
from ollmlx.wire.native import CreateRequest, ErrorResponse

NAMES = ("a", "b", "c")


@dataclass(frozen=True)
class Place:
    root: Path
    gguf: Path
    mlx: Path
    """What the models of the store are made of."""

    @property
    def store(self) -> Changes:
        return Changes(self.root)

    @property
    def library(self) -> Library:
        settings = Settings(models=self.root, embedded=False)
        return Library(settings, self.root / "hub", self.root / "studio")


def prepare(place: Place) -> None:
    """Two models that nothing here changes."""
    store = place.store
    making = Making(store.shelf, Config())
    making.add_file("model", store.shelf.blobs.add_file(place.gguf).digest, "base")
    making.describe(readers())
    store.install(names.parse("base"), making.manifest())
    folder = store.folder(names.parse("folder"))
    folder.mkdir(parents=True)
    link_weights(place.mlx, folder)


def create(place: Place, **request: Any) -> None:
    settings = Settings(models=place.root, embedded=False)
    engine = Engine(settings, place.library, Pool(settings))

    async def run() -> None:
        answer = await creating.create(engine, CreateRequest(**request))
        if isinstance(answer, Whole):
            assert isinstance(answer.body, ErrorResponse)
            raise OllmlxError(answer.body.error)
        assert isinstance(answer, Stream)
        async for _ in answer.frames:
            pass

    asyncio.run(run())


# -- what is done, again and again -----------------------------------------------------------------


def change_words(place: Place) -> None:
    base, name = random.choice(("base", "folder")), random.choice(NAMES)
    match random.choice(("create", "copy", "delete")):
        case "create":
            parameters = {"seed": random.randrange(99)}
            words = str(random.random())
            create(place, model=name, from_=base, system=words, parameters=parameters)
        case "copy":
            place.store.copy(place.library.find(base), names.parse(name))
        case "delete":
            place.store.delete(names.parse(name), None)


def import_gguf(place: Place) -> None:
    digest = place.store.shelf.blobs.add_file(place.gguf).digest
    kind = random.choice(("", "q8_0"))
    create(place, model=random.choice(NAMES), files={"m.gguf": digest}, quantize=kind)


def import_folder(place: Place) -> None:
    blobs = place.store.shelf.blobs
    files = {path.name: blobs.add_file(path).digest for path in place.mlx.iterdir()}
    create(place, model="a", files=files, quantize=random.choice(("", "int8-g32")))


def convert_gguf(place: Place) -> None:
    convert(place.gguf, place.store.folder(names.parse("a")), replace=True)


@dataclass(frozen=True)
class Kind:
    work: Callable[[Place], None]
    longest_seconds: float
    """Until it is killed: about twice what the work takes."""


KINDS = {
    "words": Kind(change_words, 0.1),
    "gguf": Kind(import_gguf, 2),
    "safetensors": Kind(import_folder, 6),
    "convert": Kind(convert_gguf, 1),
}


# -- what is left ----------------------------------------------------------------------------------


def problems(place: Place) -> list[str]:
    """Of every model that is there: whether it is listed, and its files are whole."""
    library = place.library
    found = [f"{base} is gone" for base in ("base", "folder") if not _loads(library, base)]
    found += [model.name for model in library.list() if not _loads(library, model.name)]
    for path in (place.root / "blobs").glob("sha256-" + "?" * 64):
        if digest_of(path) != path.name.replace("-", ":"):
            found.append(f"{path.name} is something else")
    listed = {model.full_name for model in library.list()}
    for tree in ("manifests", "mlx"):
        for path in (place.root / tree).glob("*/*/*/[a-z]*"):
            host, namespace, model, tag = path.parts[-4:]
            if f"{host}/{namespace}/{model}:{tag}" not in listed:
                found.append(f"{path} is not listed")
    return found


def _loads(library: Library, name: str) -> bool:
    try:
        model = library.find(name)
        for path in Path(model.path).glob("*.safetensors"):
            with safe_open(path, "np"):
                """The header, and whether the file is as long as it says."""
    except (OllmlxError, SafetensorError):
        return False
    parts = [Path(model.path), *map(Path, model.adapters)]
    if model.format == "mlx":
        parts += [parts[0] / "config.json", parts[0] / "tokenizer.json"]
    return all(path.exists() for path in parts)


def _disturbed(place: Place, kind: Kind, seed: int) -> None:
    """In a child: for ever."""
    if kind.work is convert_gguf:
        import ollmlx.convert.gguf_to_mlx  # noqa: F401  # only now: no engine survives a fork
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    random.seed()
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, kind.longest_seconds))
    random.seed(seed)
    while True:
        _done(place, kind)


def _done(place: Place, kind: Kind) -> None:
    try:
        kind.work(place)
    except OllmlxError as error:
        sys.stdout.write(f"refused: {error}\n")
        sys.stdout.flush()


def main(kind: Kind, times: int, place: Place) -> None:
    prepare(place)
    for seed in range(times):
        if not (child := os.fork()):
            _disturbed(place, kind, seed)
        os.waitpid(child, 0)
        for problem in problems(place):
            sys.stdout.write(f"after {seed}: {problem}\n")
    place.store.tidy()
    _done(place, kind)
    for problem in problems(place):
        sys.stdout.write(f"at the end: {problem}\n")


if __name__ == "__main__":
    main(KINDS[sys.argv[1]], int(sys.argv[2]), Place(*map(Path, sys.argv[3:6])))

"""Run as `python -m tests.api.killing ROOT GGUF MLX TIMES`: create, copy and delete models, and be
killed at random moments; then look at what is left.  Prints what is wrong.

A timer without a handler ends the child as suddenly as `kill -9` would.
"""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

from ollmlx import names
from ollmlx.api import creating_gguf, creating_mlx
from ollmlx.errors import OllmlxError
from ollmlx.settings import Settings
from ollmlx.store.blobs import digest_of
from ollmlx.store.changes import Changes, link_weights
from ollmlx.store.config import Config
from ollmlx.store.library import Library
from ollmlx.store.making import Making
from ollmlx.store.weights import readers
from ollmlx.wire.native import CreateRequest

NAMES = ("a", "b", "c")
LONGEST_SECONDS = 0.1


def prepare(root: Path, gguf: Path, mlx: Path) -> None:
    store = Changes(root)
    making = Making(store.shelf, Config())
    making.add_file("model", store.shelf.blobs.add_file(gguf).digest, "base")
    making.describe(readers())
    store.install(names.parse("base"), making.manifest())
    folder = store.folder(names.parse("folder"))
    folder.mkdir(parents=True)
    link_weights(mlx, folder)


async def create(store: Changes, library: Library, base: str, name: str, text: str) -> None:
    model = library.find(base)
    request = CreateRequest(system=text, parameters={"seed": random.randrange(99)})
    kind = creating_mlx if model.format == "mlx" else creating_gguf
    async for _ in kind.created(store, model, request, names.parse(name)):
        pass


def work(root: Path, seed: int) -> None:
    """For ever."""
    random.seed(seed)
    store, library = Changes(root), Library(Settings(models=root, embedded=False), root / "hub")
    while True:
        base, name = random.choice(("base", "folder")), random.choice(NAMES)
        try:
            match random.choice(("create", "copy", "delete")):
                case "create":
                    asyncio.run(create(store, library, base, name, str(random.random())))
                case "copy":
                    store.copy(library.find(base), names.parse(name))
                case "delete":
                    store.delete(names.parse(name), None)
        except OllmlxError as error:
            sys.stdout.write(f"refused: {error}\n")
            sys.stdout.flush()


def problems(root: Path) -> list[str]:
    """Of every model that is there: whether it is listed, and its files are whole."""
    library = Library(Settings(models=root, embedded=False), root / "hub")
    found = [f"{base} is gone" for base in ("base", "folder") if not _loads(library, base)]
    found += [model.name for model in library.list() if not _loads(library, model.name)]
    for path in (root / "blobs").glob("sha256-" + "?" * 64):
        if digest_of(path) != path.name.replace("-", ":"):
            found.append(f"{path.name} is something else")
    listed = {model.full_name for model in library.list()}
    for path in (root / "manifests").glob("*/*/*/[a-z]*"):
        host, namespace, model, tag = path.parts[-4:]
        if f"{host}/{namespace}/{model}:{tag}" not in listed:
            found.append(f"{model} has a manifest and is not listed")
    return found


def _loads(library: Library, name: str) -> bool:
    try:
        model = library.find(name)
    except OllmlxError:
        return False
    return all(Path(path).exists() for path in (model.path, *model.adapters))


def main(root: Path, gguf: Path, mlx: Path, times: int) -> None:
    prepare(root, gguf, mlx)
    for seed in range(times):
        child = os.fork()
        if not child:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            random.seed()
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, LONGEST_SECONDS))
            work(root, seed)
        os.waitpid(child, 0)
        for problem in problems(root):
            sys.stdout.write(f"after {seed}: {problem}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]))  # type: ignore[call-arg]  # three paths

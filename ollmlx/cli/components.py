"""The files that a Modelfile names, with their digests: what goes to the server before a create."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ollmlx.errors import BadRequest
from ollmlx.store.ollama.blobs import digest_of
from ollmlx.store.ollama.modelfile import Command

Digests = dict[Path, str]
_BLOCK = 1 << 20
_WEIGHTS = (
    ("model*.safetensors", "*/model*.safetensors"),
    ("consolidated*.safetensors",),
    ("pytorch_model*.bin",),
    ("consolidated*.pth",),
    ("*.gguf",),
    ("*.bin",),
)
"""The first that a folder has any of are its weights."""
_ADAPTERS = (("adapter*.safetensors",), *_WEIGHTS)
_CONFIGURATION = ("*.json", "*/*.json", "chat_template.jinja", "tokenizer.model")


class NoWeights(BadRequest):
    """A folder without a model in it."""

    def __init__(self) -> None:
        super().__init__("no Modelfile or safetensors files found")


class NoSuchFile(BadRequest):
    """A Modelfile names a file that is not there."""


class OutsideFolder(BadRequest):
    """A folder of a model has a link that leads out of it."""


@dataclass
class Components:
    """The files of each kind, and the model that FROM names where it names no file."""

    base: str = ""
    files: Digests = field(default_factory=dict)
    drafts: Digests = field(default_factory=dict)
    adapters: Digests = field(default_factory=dict)


def gather(commands: Iterable[Command], folder: Path) -> Components:
    """Read every file that the commands name, as seen from `folder`.

    Raises `BadRequest`.
    """
    found, places = Components(), dict[str, set[Path]]()
    for command in commands:
        if command.name not in ("from", "draft", "adapter"):
            continue
        path = Path(os.path.abspath(folder / os.path.expanduser(command.value)))
        places.setdefault(command.name, set()).add(path)
        if clash := places.get("from", set()) & places.get("draft", set()):
            told = f"DRAFT must not reference the same local path as FROM: {clash.pop()}"
            raise BadRequest(told)
        if path.exists():
            _add(found, command.name, path)
        elif command.name == "from":
            found.base = command.value
        else:
            raise NoSuchFile(f"stat {path}: no such file or directory")
    return found


def names(digests: Digests) -> dict[Path, str]:
    """What each file is called in the request: its path below the folder that all lie in."""
    if len(digests) < 2:
        return {file: file.name for file in digests}
    root = os.path.commonpath([file.parent for file in digests])
    return {file: file.relative_to(root).as_posix() for file in digests}


def _add(found: Components, kind: str, path: Path) -> None:
    digests = {
        file: digest_of(file) for file in _files(path, _ADAPTERS if kind == "adapter" else _WEIGHTS)
    }
    if kind == "adapter":
        found.adapters = digests
    else:
        (found.files if kind == "from" else found.drafts).update(digests)


def _files(path: Path, weights: Iterable[tuple[str, ...]]) -> list[Path]:
    if not path.is_dir():
        return [path]
    for patterns in weights:
        if files := list(_matching(path, patterns)):
            return [*files, *_matching(path, _CONFIGURATION)]
    raise NoWeights


def _matching(folder: Path, patterns: Iterable[str]) -> Iterator[Path]:
    """Raises `OutsideFolder`."""
    root = folder.resolve()
    for pattern in patterns:
        for file in sorted(folder.glob(pattern)):
            real = file.resolve()
            if not real.is_relative_to(root):
                outside = os.path.relpath(real, root)
                advice = "\n\nUse --local-dir <dir> when downloading model to disable caching"
                raise OutsideFolder(
                    f"insecure path: {outside}{advice if '.cache' in str(real) else ''}"
                )
            yield real


def chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            yield block

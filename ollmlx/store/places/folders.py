"""Models that a path names, and those in ollmlx's own folder of converted models."""

from collections.abc import Iterator
from pathlib import Path

from ollmlx import names
from ollmlx.errors import InvalidName
from ollmlx.names import Name
from ollmlx.store.appearing import put_back
from ollmlx.store.model import Model
from ollmlx.store.transfer import quantizations
from ollmlx.store.weights import NotAModel, Weights, gguf_model, mlx_model, with_projectors


def may_be_a_model(path: Path) -> bool:
    """Whether a path is worth an error of its own: callers who try names learn of no other file."""
    if path.suffix in (".gguf", ".safetensors") or path.is_dir():
        return path.exists()
    try:
        # Whoever opens a terminal or a pipe may wait for ever.
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def at_path(path: Path, weights: Weights) -> Model:
    """The model that a file or folder is: `.gguf` or unknown files GGUF, folders MLX.

    A file has the projector beside it where that can belong to no other model.

    Raises `NotAModel`, `BadGguf`, `BadDocument` or `OSError`.
    """
    path = path.absolute()
    if path.is_dir():
        return in_folder(path, str(path), "path", weights)
    if not path.is_file():
        raise NotAModel(f"{path} is neither a file nor a folder")
    if path.suffix == ".safetensors":
        raise NotAModel(f"{path} is part of a model: name the folder that holds it")
    model = gguf_model(path, str(path), "path", weights)
    beside = [file.name for file in path.parent.glob("*.gguf")]
    projector = quantizations.projector(beside, path.name)
    if projector is None or not quantizations.of_one_model(beside):
        return model
    return with_projectors(model, [path.parent / projector], weights)


def in_folder(
    folder: Path, name: str, source: str, weights: Weights, *, full_name: str = ""
) -> Model:
    """A folder of safetensors is MLX; one that has a single GGUF instead is that GGUF."""
    found = sorted(folder.glob("*.gguf"))
    if not found or any(folder.glob("*.safetensors")):
        return mlx_model(folder, name, source, weights, full_name=full_name)
    projectors = [path for path in found if weights.gguf(path).kind == "projector"]
    models = [path for path in found if path not in projectors and not _is_later_part(path)]
    if len(models) != 1:
        raise NotAModel(f"{folder} has {len(models)} GGUF models: name the one you mean")
    model = gguf_model(models[0], name, source, weights, full_name=full_name)
    return with_projectors(model, projectors[:1], weights)


def _is_later_part(path: Path) -> bool:
    return "-of-" in path.stem and "-00001-of-" not in path.stem


def named(tree: Path) -> Iterator[tuple[Name, Path]]:
    """Every `<host>/<namespace>/<model>/<tag>` below `tree` that spells a name.

    A model whose replacing was killed is put back first.
    """
    for entry in _below(tree, 4):
        path = put_back(entry) or entry
        host, namespace, model, tag = path.relative_to(tree).parts
        try:
            yield names.parse(f"{host}/{namespace}/{model}:{tag}"), path
        except InvalidName:
            continue  # a temporary or foreign file


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """What lies that deep, in order.  Not `glob`: until Python 3.13 it fails when a folder that it
    has seen is deleted by another request.
    """
    try:
        inside = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for path in inside:
        if depth == 1:
            yield path
        else:
            yield from _below(path, depth - 1)


def matching(tree: Path, name: Name) -> tuple[Name, Path] | None:
    """The entry of `tree` that `name` means: the same spelling first, then any letter case."""
    entries = [entry for entry in named(tree) if entry[0].matches(name)]
    return min(entries, key=lambda entry: entry[0].full != name.full, default=None)


def remove_empty(folder: Path, top: Path) -> None:
    """This folder and its parents below `top`, as far as they are empty."""
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return  # not empty, or gone already
        folder = folder.parent

"""`convert`: a GGUF model into an MLX one, or the other way into a `.gguf` file."""

import asyncio
import sys
from pathlib import Path

from ollmlx import names, settings
from ollmlx.cli import formats
from ollmlx.cli.flags import Misused, Words
from ollmlx.cli.progress import Progress, Spinner
from ollmlx.cli.terminal import tell
from ollmlx.convert import Conversion, export, quantise
from ollmlx.convert import convert as repack
from ollmlx.convert.verification import difference
from ollmlx.errors import BadRequest
from ollmlx.store.appearing import TargetInTheWay
from ollmlx.store.library import Library

DTYPES = ("auto", "float16", "bfloat16", "float32")


def convert(words: Words) -> None:
    source, target_name = [*words.arguments, None][:2]
    assert source
    dtype = words.text("dtype") or "auto"
    if dtype not in DTYPES:
        raise Misused(f'invalid value for --dtype: "{dtype}" (must be {", ".join(DTYPES)})')
    library = Library(settings.from_environment())
    model = library.find(source)
    filling, replace = Filling(sys.stderr.isatty()), words.on("replace")
    kind = words.text("quantize")
    try:
        if model.format == "mlx" and kind:
            target = _quantised(library, model.name, target_name)
            size = quantise(Path(model.path), target, kind, filling, replace)
            tell(f"{formats.size(size)} → {target}")
        elif model.format == "mlx":
            if "dtype" in words.given:
                raise Misused("--dtype is for MLX models: a .gguf file keeps the one there is")
            target = _file(model.name, target_name)
            export(Path(model.path), target, filling, replace)
            tell(f"{formats.size(target.stat().st_size)} → {target}")
        else:
            target = _target(library, model.name, target_name)
            _tell(repack(Path(model.path), target, filling, dtype, replace, kind), target)
    except TargetInTheWay as error:
        raise BadRequest(f"{error}: --replace puts the new one in its place") from error
    _compare(Path(model.path), target)


def _compare(original: Path, converted: Path) -> None:
    """Say how far the two are apart.  Raises what keeps either from running."""
    with Progress() as running:
        running.add(Spinner("comparing both on a short text"))
        try:
            found = asyncio.run(difference(original, converted))
        finally:
            running.clear()
    tell(
        f"compared with the original: {found}"
        if found
        else "not compared with the original: an engine or the memory for one of them is missing"
    )


def _tell(done: Conversion, target: Path) -> None:
    tell(f"{done.architecture}: {done.arrays} arrays, {done.bytes / 1e6:.1f} MB", end="")
    tell(f" in {done.seconds:.1f} s → {target}")
    if done.requantised:
        kinds = ", ".join(sorted(set(done.requantised.values())))
        tell(f"{len(done.requantised)} tensors lost a little precision: MLX has no {kinds}")


def _file(source: str, target: str | None) -> Path:
    """Where to write the GGUF form of an MLX model."""
    if not target or not target.endswith(".gguf"):
        raise BadRequest(f"{source} is an MLX model already; a .gguf file can be made of it")
    return names.as_path(target) or Path(target)


def _quantised(library: Library, source: str, target: str | None) -> Path:
    """Where to write the quantised form of an MLX model."""
    if not target:
        raise BadRequest("the quantised model needs a name or a folder of its own")
    if target.endswith(".gguf"):
        raise BadRequest("a .gguf file is written unquantised: `create --quantize` does the rest")
    return _target(library, source, target)


def _target(library: Library, source: str, target: str | None) -> Path:
    """A name goes into the store; a path is taken as it is."""
    if target and (path := names.as_path(target)):
        return path
    if not target and names.as_path(source):
        return Path(source).with_suffix("")
    name = names.parse(target or f"{source}-mlx")
    if _taken(library, name):
        raise BadRequest(f"{name.display} is a GGUF model: give the MLX one another name")
    return library.mlx_path(name)


def _taken(library: Library, name: names.Name) -> bool:
    """Whether a model that is not MLX goes by this name, and would hide one that is."""
    return any(
        m.full_name.lower() == name.full.lower() and m.format != "mlx" for m in library.list()
    )


class Filling:
    """One line that fills up; on anything but a terminal, nothing."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown

    def __call__(self, stage: str, fraction: float) -> None:
        if self._shown:
            bar, end = "█" * int(fraction * 30), "\n" if stage == "saving" else ""
            tell(f"\r{stage:<10} ▕{bar:<30}▏ {fraction:4.0%}", end=end)

"""Models from one format into another: `convert` makes an MLX folder of a GGUF file, `quantise` one
of another folder, `export` a GGUF file of an MLX folder.

Importing this loads no engine; converting needs MLX's.
"""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ollmlx.convert.recipes import recipe
from ollmlx.errors import Unavailable
from ollmlx.store.appearing import appearing
from ollmlx.store.changes import weight_bytes

Report = Callable[[str, float], None]
"""Told what is being done (`tokenizer`, `weights`, `quantising`, `saving`) and how far it is."""

_PLAIN = ".plain"
"""Where numbers lie that are still to be quantised, in the folder that is being filled."""


@dataclass(frozen=True)
class Conversion:
    """What came of a conversion."""

    architecture: str
    """GGUF's name of it."""
    dtype: str
    """Of norms, scales and dense weights."""
    arrays: int
    bytes: int
    """Of all arrays."""
    seconds: float
    requantised: dict[str, str] = field(default_factory=dict)
    """Tensors that lost precision because MLX has no form for their type, which is given."""


def convert(
    source: Path,
    target: Path,
    report: Report | None = None,
    dtype: str = "auto",
    replace: bool = False,
    quantize: str = "",
) -> Conversion:
    """Write the GGUF file `source` as the MLX folder `target`, which appears whole or not at all.

    Blocks stay as they are quantised; `quantize`, a name of `ollmlx.convert.recipes`, is for files
    of plain numbers.

    `dtype` is `float16`, `bfloat16`, `float32`, or `auto`: float16, in which most scales are exact,
    unless the file or the architecture needs bfloat16's range.  With `replace`, a model that is at
    `target` already gives way.  Raises `NotConvertible` or its
    `UnsupportedArchitecture`, what `appearing` does, `BadGguf`, and `Unavailable` without MLX.
    """
    try:
        from ollmlx.convert.gguf_to_mlx import convert_gguf
    except ModuleNotFoundError as error:
        raise _without_mlx(error) from error
    source, target, report = Path(source), Path(target), report or _unheard
    if not quantize:
        return convert_gguf(source, target, report, dtype, replace)
    recipe(quantize)
    with appearing(target, replace) as folder:
        plain = folder / _PLAIN
        made = convert_gguf(source, plain, report, dtype, False)
        _quantise(plain, folder, quantize, report)
        shutil.rmtree(plain)
        return dataclasses.replace(made, bytes=weight_bytes(folder))


def quantise(
    source: Path, target: Path, name: str, report: Report | None = None, replace: bool = False
) -> int:
    """Write the MLX or Hugging Face folder `source` as the quantised one `target`; its bytes.

    `name` is one of `ollmlx.convert.recipes`.  Raises as `convert`.
    """
    recipe(name)
    with appearing(Path(target), replace) as folder:
        _quantise(Path(source), folder, name, report or _unheard)
        return weight_bytes(folder)


def _quantise(source: Path, folder: Path, name: str, report: Report) -> None:
    try:
        from ollmlx.convert import quantise_mlx
    except ModuleNotFoundError as error:
        raise _without_mlx(error) from error
    quantise_mlx.convert(source, folder, name, lambda done: report("quantising", done))
    report("saving", 1.0)


def export(source: Path, target: Path, report: Report | None = None, replace: bool = False) -> None:
    """Write the MLX or Hugging Face folder `source` as the GGUF file `target`, unquantised.

    Raises `NotConvertible`, `TargetInTheWay`, `CannotStore`, and `Unavailable` without MLX.
    """
    try:
        from ollmlx.convert import mlx_to_gguf
    except ModuleNotFoundError as error:
        raise _without_mlx(error) from error
    mlx_to_gguf.export(Path(source), Path(target), report or _unheard, replace)


def _without_mlx(error: ModuleNotFoundError) -> Unavailable:
    return Unavailable(
        f"converting needs MLX's engine ({error.name} is missing): pip install 'ollmlx[mlx]'"
    )


def _unheard(stage: str, fraction: float) -> None:
    """Nobody asked."""

"""Models from one format into another: `convert` makes an MLX folder of a GGUF file, `export` a
GGUF file of an MLX folder.

Importing this loads no engine; converting needs MLX's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ollmlx.errors import Unavailable

Report = Callable[[str, float], None]
"""Told what is being done (`tokenizer`, `weights`, `saving`) and which fraction of it is done."""


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
) -> Conversion:
    """Write the GGUF file `source` as the MLX folder `target`, which appears whole or not at all.

    `dtype` is `float16`, `bfloat16`, `float32`, or `auto`: float16, in which most scales are exact,
    unless the file or the architecture needs bfloat16's range.  With `replace`, a model that is at
    `target` already gives way.  Raises the errors of `ollmlx.convert.refusals` (`BadRequest`s, such
    as `UnsupportedArchitecture`), `BadGguf`, and `Unavailable` without MLX.
    """
    try:
        from ollmlx.convert.gguf_to_mlx import convert_gguf
    except ModuleNotFoundError as error:
        raise _without_mlx(error) from error
    return convert_gguf(Path(source), Path(target), report or _unheard, dtype, replace)


def export(source: Path, target: Path, report: Report | None = None, replace: bool = False) -> None:
    """Write the MLX or Hugging Face folder `source` as the GGUF file `target`, unquantised.

    Raises the errors of `ollmlx.convert.refusals`, and `Unavailable` without MLX.
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

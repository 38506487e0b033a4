"""How an MLX model is quantised, by the name that a create gives.

`int4` or `int4-g32` is MLX's affine form, with its group; `mxfp4`, `mxfp8` and `nvfp4` are
microscaled floats; `mixed_4_6` and its kin keep sensitive layers at more bits; `F16`, `BF16` and
`F32` only change the type of numbers.  Of llama.cpp's names those with a close relative are taken.
"""

import re
from dataclasses import dataclass

from ollmlx.errors import OllmlxError

_AFFINE = re.compile(r"INT([234568])(?:-G(32|64|128))?")
_FLOATS = {"MXFP4": (4, 32), "MXFP8": (8, 32), "NVFP4": (4, 16)}
_MIXED = ("MIXED_2_6", "MIXED_3_4", "MIXED_3_6", "MIXED_4_6")
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
_RELATIVES = {
    "Q8_0": "INT8-G32",
    "Q6_K": "INT6-G32",
    "Q5_K_M": "INT5-G32",
    "Q5_K": "INT5-G32",
    "Q4_0": "INT4-G32",
    "Q4_K_S": "INT4-G32",
    "Q4_K_M": "MIXED_4_6",
    "Q4_K": "MIXED_4_6",
}


class UnknownRecipe(OllmlxError):
    """Worded as Ollama words it for a type of llama.cpp's."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"unsupported quantization type {name} - supported types are INT2 to INT8 "
            "(-G32, -G64, -G128), MXFP4, MXFP8, NVFP4, "
            f"{', '.join(_MIXED)}, F16, BF16, F32, {', '.join(_RELATIVES)}"
        )


@dataclass(frozen=True)
class Recipe:
    bits: int = 0
    """0 leaves the weights as they are."""
    group: int = 64
    mode: str = "affine"
    mixed: str = ""
    """mlx-lm's name of a mixture."""
    dtype: str = ""
    """Of what is not packed; as the model has it when empty."""


def recipe(name: str) -> Recipe:
    """Whatever the letter case.  Raises `UnknownRecipe`."""
    upper = _RELATIVES.get(name.upper(), name.upper())
    if match := _AFFINE.fullmatch(upper):
        return Recipe(int(match[1]), int(match[2] or 64))
    if upper in _FLOATS:
        bits, group = _FLOATS[upper]
        return Recipe(bits, group, upper.lower())
    if upper in _MIXED:
        return Recipe(int(upper[6]), 64, mixed=upper.lower())
    if upper in _DTYPES:
        return Recipe(dtype=_DTYPES[upper])
    raise UnknownRecipe(name)

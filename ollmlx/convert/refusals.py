"""Why a model is not converted, told in one sentence; all but `NotWritten` are `BadRequest`s."""

from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.store.appearing import BeingConverted, NotReplaced, TargetInTheWay

__all__ = [
    "BeingConverted",
    "DiskFull",
    "NotConvertible",
    "NotReplaced",
    "NotWritten",
    "TargetInTheWay",
    "UnsupportedArchitecture",
]


class NotConvertible(BadRequest):
    """The file cannot become an MLX model: it is broken, or MLX has no form for what it holds."""


class UnsupportedArchitecture(NotConvertible):
    def __init__(self, architecture: str, supported: list[str]) -> None:
        super().__init__(
            f"architecture {architecture!r} cannot be converted to MLX; "
            f"supported are {', '.join(supported)}"
        )


class DiskFull(BadRequest):
    """The model is larger than what is free where it is to be."""


class NotWritten(OllmlxError):
    """The system took a part of the model and then no more."""

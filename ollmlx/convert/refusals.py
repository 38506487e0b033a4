"""Why a model is not converted, told in one sentence; all but `NotWritten` are `BadRequest`s."""

from ollmlx.errors import BadRequest, OllmlxError


class NotConvertible(BadRequest):
    """The file cannot become an MLX model: it is broken, or MLX has no form for what it holds."""


class UnsupportedArchitecture(NotConvertible):
    def __init__(self, architecture: str, supported: list[str]) -> None:
        super().__init__(
            f"architecture {architecture!r} cannot be converted to MLX; "
            f"supported are {', '.join(supported)}"
        )


class TargetInTheWay(BadRequest):
    """A model is where the new one is to be."""


class NotReplaced(BadRequest):
    """What is where the model is to be is no model, and so not ours to remove."""


class BeingConverted(BadRequest):
    """Another process is writing the same model."""


class DiskFull(BadRequest):
    """The model is larger than what is free where it is to be."""


class NotWritten(OllmlxError):
    """The system took a part of the model and then no more."""

"""Why a model is not converted, told in one sentence."""

from ollmlx.errors import BadRequest


class NotConvertible(BadRequest):
    """The file cannot become an MLX model: it is broken, or MLX has no form for what it holds."""


class UnsupportedArchitecture(NotConvertible):
    def __init__(self, architecture: str, supported: list[str]) -> None:
        super().__init__(
            f"architecture {architecture!r} cannot be converted to MLX; "
            f"supported are {', '.join(supported)}"
        )

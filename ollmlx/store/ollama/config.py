"""The config blob of a model in Ollama's store."""

import msgspec

from ollmlx.wire.encode import encode

_ALWAYS = ("model_format", "model_family", "model_families", "model_type", "file_type")


class Config(msgspec.Struct):
    """Keys not named here are ignored."""

    model_format: str = ""
    model_family: str = ""
    model_families: list[str] | None = None
    model_type: str = ""
    """Parameter size as text."""
    file_type: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    remote_model: str = ""
    capabilities: list[str] | None = None
    context_length: int = 0
    embedding_length: int = 0
    base_name: str = ""
    draft: dict[str, str] | None = None

    def encode(self) -> bytes:
        """As Ollama writes it: compact JSON and a newline."""
        fields = msgspec.structs.asdict(self)
        written = {name: value for name, value in fields.items() if value or name in _ALWAYS}
        return encode({**written, "architecture": "amd64", "os": "linux"}) + b"\n"

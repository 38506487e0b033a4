"""A manifest as a value, and its bytes as Ollama writes them."""

import msgspec

from ollmlx.wire.encode import encode

PREFIX = "application/vnd.ollama.image."
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


class Layer(
    msgspec.Struct, omit_defaults=True, rename={"media_type": "mediaType", "source": "from"}
):
    media_type: str
    digest: str
    size: int
    source: str = ""
    """What the layer was made from; the base model's name on a model layer."""
    name: str = ""
    """Tensor or file of a safetensors model."""

    @property
    def kind(self) -> str:
        """`model`, `template`, `params` …; empty for other software's layers."""
        return self.media_type[len(PREFIX) :] if self.media_type.startswith(PREFIX) else ""


class Manifest(
    msgspec.Struct,
    kw_only=True,
    rename={"schema_version": "schemaVersion", "media_type": "mediaType"},
):
    schema_version: int = 2
    media_type: str = MANIFEST_TYPE
    config: Layer
    layers: list[Layer] | None = None

    @property
    def blobs(self) -> list[Layer]:
        """Every layer, then the config: each digest once, in the order Ollama pulls them."""
        every = [*(self.layers or []), self.config]
        return list({layer.digest: layer for layer in every}.values())

    def encode(self) -> bytes:
        """As Ollama writes it when it makes a model: compact JSON and a newline."""
        return encode(self) + b"\n"

"""A model of Ollama's store in the making: its layers one by one, then its manifest.

Everything is as Ollama does it, so that the same recipe gives the same bytes: the order of the
layers, what they say they are from, how parameters are merged, the texts that report them.
Blobs that are replaced stay until their grace is over: another process may need them.
Source: `server/create.go` of https://github.com/ollama/ollama.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ollmlx.names import Name
from ollmlx.store import words
from ollmlx.store.documents import decode, read_bytes
from ollmlx.store.ollama.blobs import Blob
from ollmlx.store.ollama.config import Config
from ollmlx.store.ollama.layers import CONFIG_TYPE, PREFIX, Layer, Manifest
from ollmlx.store.ollama.shelf import Shelf
from ollmlx.store.weights import Weights
from ollmlx.wire.native import CreateRequest, Message

_RENDERERS = {
    "gemma4": "gemma4",
    "laguna": "laguna",
    **dict.fromkeys(("nemotron_h", "nemotron_h_moe", "nemotron_h_omni"), "nemotron-3-nano"),
}
"""Architectures whose chats need a renderer and a parser; both have one name."""


@dataclass(frozen=True)
class _Made:
    layer: Layer
    status: str


class Making:
    """Not yet installed: `manifest` writes the last blob, and `Shelf.write` installs it."""

    def __init__(self, shelf: Shelf, config: Config) -> None:
        self.shelf = shelf
        self.config = config
        self._made: list[_Made] = []

    def inherit(self, manifest: Manifest, base: Name) -> None:
        """Take over every layer of an installed model, and what its config says of prompting.

        Raises `BadManifest` or `OSError`, for a model that is not whole.
        """
        for layer in manifest.layers or ():
            self._existing(layer.media_type, layer.digest, base.display, layer.name)
        path = self.shelf.blobs.path(manifest.config.digest)
        inherited = decode(read_bytes(path), path, Config)
        own = self.config
        own.renderer = own.renderer or inherited.renderer
        own.parser = own.parser or inherited.parser
        own.requires = own.requires or inherited.requires
        own.model_format = own.model_format or inherited.model_format
        own.capabilities = own.capabilities or inherited.capabilities

    def add_file(self, kind: str, digest: str, source: str) -> None:
        """A blob that is there as a layer.  Raises `OSError` when it is not."""
        self._existing(PREFIX + kind, digest, source)

    def add_blob(self, kind: str, blob: Blob) -> None:
        """A blob that was just written."""
        verb = "creating new" if blob.new else "using existing"
        self._made.append(
            _Made(Layer(PREFIX + kind, blob.digest, blob.size), f"{verb} layer {blob.digest}")
        )

    def add(self, kind: str, data: bytes, status: str = "") -> None:
        """Raises `CannotStore`."""
        self.add_blob(kind, self.shelf.blobs.add(data))
        if status:
            self._made[-1] = _Made(self._made[-1].layer, status)

    def replace(self, kind: str, data: bytes) -> None:
        """Raises `CannotStore`."""
        self.drop(kind)
        self.add(kind, data)

    def drop(self, kind: str) -> None:
        self._made = [made for made in self._made if made.layer.kind != kind]

    def files(self, kind: str) -> list[Path]:
        return [self.shelf.blobs.path(made.layer.digest) for made in self._of(kind)]

    def weights(self) -> list[tuple[str, Path]]:
        """Kinds and files of what may be written anew, in the order of the layers."""
        kinds = ("model", "draft", "projector")
        return [
            (made.layer.kind, self.shelf.blobs.path(made.layer.digest))
            for made in self._made
            if made.layer.kind in kinds
        ]

    def replace_weights(self, old: Path, blob: Blob) -> None:
        """Put rewritten weights where the old ones are."""
        at = [self.shelf.blobs.path(made.layer.digest) for made in self._made].index(old)
        kind = self._made[at].layer.kind
        self.add_blob(kind, blob)
        self._made[at] = self._made.pop()

    def fill(self, request: CreateRequest, parameters: Mapping[str, Any]) -> None:
        """Everything that is words: what the request gives, and `parameters` below it.

        Raises `BadDocument` when the layer that is merged with is damaged, or `CannotStore`.
        """
        if request.template:
            self.replace("template", request.template.encode())
        if request.system:
            self.replace("system", request.system.encode())
        for text in words.licenses(request):
            self.add("license", text.encode())
        merged = {**parameters, **self._parameters(), **request.parameters}
        if merged:
            self.replace("params", words.encoded_parameters(merged))
        self._say(request.messages)

    def describe(self, weights: Weights) -> None:
        """Tell the config about the weights.  Raises `BadGguf` or `OSError`."""
        families = []
        for path in self.files("model"):
            found = weights.gguf(path)
            families.append(found.details.family)
            config = self.config
            config.model_format = config.model_format or "gguf"
            config.model_family = config.model_family or found.details.family
            config.model_type = config.model_type or found.details.parameter_size
            level = found.details.quantization_level
            # llama.cpp's number of F32 is 0, which Ollama takes for none.
            config.file_type = config.file_type or ("unknown" if level == "F32" else level)
        if families:
            self.config.model_families = [*(self.config.model_families or ()), *families]
        for path in self.files("draft"):
            family = weights.gguf(path).details.family
            self.config.draft = {"model_format": "gguf", "architecture": family}

    def choose_renderer(self, request: CreateRequest, weights: Weights) -> dict[str, Any]:
        """Set renderer and parser that an architecture cannot do without; returns its stops."""
        for path in self.files("model"):
            family = weights.gguf(path).details.family
            if family in _RENDERERS and not (self.config.renderer and self.config.parser):
                self.config.renderer = self.config.renderer or _RENDERERS[family]
                self.config.parser = self.config.parser or _RENDERERS[family]
                if family == "gemma4" and "stop" not in request.parameters:
                    return {"stop": ["<turn|>"]}
        return {}

    def statuses(self) -> list[str]:
        return [made.status for made in self._made]

    def manifest(self) -> Manifest:
        """Raises `CannotStore`."""
        config = self.shelf.blobs.add(self.config.encode())
        layers = [made.layer for made in self._made]
        named = Layer(CONFIG_TYPE, config.digest, config.size)
        return Manifest(config=named, layers=layers or None)  # Go writes an empty slice as null

    def _of(self, kind: str) -> list[_Made]:
        return [made for made in self._made if made.layer.kind == kind]

    def _existing(self, media_type: str, digest: str, source: str, name: str = "") -> None:
        self.shelf.blobs.touch(digest)
        layer = Layer(media_type, digest, self.shelf.blobs.size(digest), source, name)
        self._made.append(_Made(layer, f"using existing layer {digest}"))

    def _parameters(self) -> dict[str, Any]:
        inherited: dict[str, Any] = {}
        for path in self.files("params"):
            inherited |= decode(read_bytes(path), path, dict[str, Any])
        return inherited

    def _say(self, messages: list[Message]) -> None:
        if messages:
            self.replace("messages", words.encoded_messages(messages))

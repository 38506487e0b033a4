"""Models in Ollama's own store, read in place: manifests by name, blobs by digest.

Writing is in `shelf`.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from ollmlx.errors import LoadFailed
from ollmlx.names import Name
from ollmlx.store import capabilities
from ollmlx.store.documents import MOST_BYTES, BadDocument, decode, read_bytes
from ollmlx.store.model import Model
from ollmlx.store.ollama.config import Config
from ollmlx.store.ollama.layers import Layer, Manifest
from ollmlx.store.perfile import PerFile
from ollmlx.store.places import folders
from ollmlx.store.weights import Weights, with_projectors
from ollmlx.wire.native import Message, ModelDetails

T = TypeVar("T")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
MOST_MANIFEST_BYTES = 4 << 20
"""Far above any real one: a model of single tensors has some thousand layers."""
_MOST_KEPT = 2048
"""Models that are remembered: some kilobytes each, licenses included."""
_LONGEST_KEPT = 1 << 18
"""Characters of a model's texts; a stranger's may be anything."""


class BadManifest(LoadFailed):
    """A manifest that is damaged or names blobs that are not there."""


class NotHere(LoadFailed):
    """An entry of Ollama's store whose weights ollmlx cannot run."""


@dataclass(frozen=True)
class _Parts:
    """What the layers of a manifest say; the last one of a kind wins, lists grow."""

    layers: list[Layer]
    blobs: Path

    def last(self, *kinds: str) -> Path | None:
        found = self.all(*kinds)
        return found[-1] if found else None

    def all(self, *kinds: str) -> list[Path]:
        return [blob(self.blobs, layer.digest) for layer in self.layers if layer.kind in kinds]

    def text(self, *kinds: str) -> str:
        path = self.last(*kinds)
        return read_bytes(path).decode("utf-8", "replace") if path else ""


@dataclass(frozen=True)
class _Read:
    model: Model
    blobs: Sequence[Path]
    """All that its manifest names; nothing reads some of them, which need not be there."""


def blob(blobs: Path, digest: str) -> Path:
    """Where the content with this digest lies.  Raises `BadManifest` when it is no digest."""
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise BadManifest(f"{digest!r} is not a digest")
    return blobs / f"sha256-{match[1]}"


class OllamaStore:
    """The folder that OLLAMA_MODELS names."""

    def __init__(self, root: Path, weights: Weights) -> None:
        self._manifests = root / "manifests"
        self._blobs = root / "blobs"
        self._weights = weights
        self._models = PerFile(self._read, _MOST_KEPT, _kept_with)

    def entries(self) -> Iterator[tuple[Name, Path]]:
        """Names and the files of their manifests."""
        return folders.named(self._manifests)

    def find(self, name: Name) -> Model | None:
        """Raises what `read` raises."""
        entry = folders.matching(self._manifests, name)
        return self.read(*entry) if entry else None

    def read(self, name: Name, path: Path) -> Model:
        """What it was the last time, unless a file of it has changed since.

        Raises `BadManifest`, `BadGguf`, `NotHere` or `OSError`.
        """
        return self._models(path, name).model

    def _read(self, path: Path, name: Name) -> _Read:
        data = read_bytes(path, MOST_MANIFEST_BYTES)
        try:
            manifest = decode(data, path, Manifest)
            model = self._model(name, path, manifest, hashlib.sha256(data).hexdigest())
        except BadDocument as error:
            raise BadManifest(f"the manifest of {name.display} is damaged: {error}") from error
        except FileNotFoundError as error:
            missing = f"the blob {Path(str(error.filename)).name} of {name.display} is missing"
            raise BadManifest(missing) from error
        digests = (layer.digest for layer in manifest.blobs)
        blobs = [blob(self._blobs, one) for one in digests if _DIGEST.fullmatch(one)]
        return _Read(model, blobs)

    def _model(self, name: Name, path: Path, manifest: Manifest, digest: str) -> Model:
        layers = manifest.layers or []
        parts = _Parts(layers, self._blobs)
        config_path = blob(self._blobs, manifest.config.digest)
        config = decode(read_bytes(config_path), config_path, Config)
        model = Model(
            name=name.display,
            full_name=name.full,
            format="remote",
            path="",
            digest=digest,
            size=manifest.config.size
            + sum(layer.size for layer in layers if layer.kind != "projector"),
            modified_at=datetime.fromtimestamp(path.stat().st_mtime).astimezone(),
            details=_details(config, parts),
            capabilities=tuple(config.capabilities or ()),
            source="ollama",
            template=parts.text("template", "prompt"),
            renderer=config.renderer,
            parser=config.parser,
            requires=config.requires,
            remote_host=config.remote_host,
            remote_model=config.remote_model,
            **_words(parts),
        )
        if not (config.remote_host and config.remote_model):
            model = self._with_weights(model, parts)
        return replace(model, capabilities=_after_templates(model))

    def _with_weights(self, model: Model, parts: _Parts) -> Model:
        weights = parts.last("model")
        if weights is None:
            raise NotHere(
                f"{model.name} is in Ollama's own tensor format, which ollmlx does not read: "
                "use a GGUF or an mlx-community model"
            )
        summary = self._weights.gguf(weights)
        model = replace(
            model,
            format="gguf",
            path=str(weights),
            details=_completed(model.details, summary.details),
            capabilities=capabilities.merged(model.capabilities, summary.capabilities),
            chat_template=summary.chat_template,
        )
        return with_projectors(model, parts.all("projector"), self._weights)


def _kept_with(read: _Read) -> Sequence[Path] | None:
    model = read.model
    texts = (model.template, model.system, *model.licenses)
    return read.blobs if sum(map(len, texts)) <= _LONGEST_KEPT else None


def _words(parts: _Parts) -> dict[str, Any]:
    """The fields of `Model` that layers of text and JSON fill."""
    parameters, messages = parts.last("params"), parts.last("messages")
    return {
        "parameters": _decoded(parameters, dict[str, Any]) if parameters else {},
        "messages": tuple(_decoded(messages, list[Message])) if messages else (),
        "system": parts.text("system"),
        "licenses": tuple(_licenses(parts.all("license"))),
        "adapters": tuple(map(str, parts.all("adapter"))),
        "draft": str(parts.last("draft") or ""),
    }


def _licenses(paths: Iterable[Path]) -> Iterator[str]:
    """Bounded all together: a manifest of a stranger may name one text thousands of times."""
    left = MOST_BYTES
    for path in paths:
        data = read_bytes(path, left)
        left -= len(data)
        yield data.decode("utf-8", "replace")


def _decoded(path: Path, kind: type[T]) -> T:
    return decode(read_bytes(path), path, kind)


def _details(config: Config, parts: _Parts) -> ModelDetails:
    return ModelDetails(
        parent_model=next((layer.source for layer in parts.layers if layer.kind == "model"), ""),
        format=config.model_format,
        family=config.model_family,
        families=config.model_families,
        parameter_size=config.model_type,
        quantization_level=config.file_type,
        context_length=config.context_length,
        embedding_length=config.embedding_length,
    )


def _completed(stated: ModelDetails, own: ModelDetails) -> ModelDetails:
    """What the weights say where the config says nothing."""
    return ModelDetails(
        parent_model=stated.parent_model,
        format=stated.format or own.format,
        family=stated.family or own.family,
        families=stated.families,
        parameter_size=stated.parameter_size or own.parameter_size,
        quantization_level=stated.quantization_level or own.quantization_level,
        context_length=stated.context_length or own.context_length,
        embedding_length=stated.embedding_length or own.embedding_length,
    )


def _after_templates(model: Model) -> tuple[str, ...]:
    return capabilities.merged(
        model.capabilities,
        capabilities.of_go_template(model.template),
        capabilities.of_parser(model.parser, model.details.family),
    )

"""The GGUF and the MLX folder as models: what listing and prompting need to know of weights."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from ollmlx import gguf, sight
from ollmlx.errors import BadRequest
from ollmlx.gguf import BadGguf
from ollmlx.store import capabilities, details, words
from ollmlx.store.documents import BadDocument, read_bytes, read_object, text
from ollmlx.store.model import Model
from ollmlx.store.ollama.families import stop_texts
from ollmlx.store.perfile import PerFile
from ollmlx.store.safetensors import Shard, read_shard
from ollmlx.wire.native import ModelDetails

_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


class NotAModel(BadRequest):
    """A file or folder that holds no weights anything here could run."""


@dataclass(frozen=True)
class GgufSummary:
    """What a list needs to know of a GGUF: small enough to keep."""

    kind: str
    """`model`, `projector` or `adapter`."""
    details: ModelDetails
    capabilities: tuple[str, ...]
    projected: tuple[str, ...]
    """What the file adds to a model that has it as its projector."""
    chat_template: str
    parameter_count: int
    shards: int


@dataclass(frozen=True)
class Weights:
    """Readers of weights, each remembering what it read until the file changes."""

    gguf: PerFile[GgufSummary]
    shard: PerFile[Shard]
    chat_template: PerFile[str]


def readers() -> Weights:
    return Weights(PerFile(_summary), PerFile(read_shard, most=256), PerFile(_chat_template))


def _summary(path: Path) -> GgufSummary:
    header = gguf.header(path)
    template = header.text("tokenizer.chat_template")
    return GgufSummary(
        kind=_kind(header),
        details=details.of_gguf(header, header.parameter_count),
        capabilities=capabilities.merged(
            capabilities.of_jinja(template), capabilities.of_weights(header)
        ),
        projected=tuple(capabilities.of_projector(header)),
        chat_template=template,
        parameter_count=header.parameter_count,
        shards=details.whole(header.meta.get("split.count")) or 1,
    )


def _kind(header: gguf.Header) -> str:
    stated = header.text("general.type")
    only_sees = header.key("vision.block_count") is not None and header.key("block_count") is None
    clip = header.arch == "clip"
    if stated in ("projector", "mmproj") or only_sees or clip:
        return "projector"
    return "adapter" if stated == "adapter" else "model"


def identity(files: Sequence[Path]) -> str:
    """64 hex digits that change when a file does: by names, sizes and times, contents unread."""
    digest = hashlib.sha256()
    for path in files:
        stat = path.stat()
        digest.update(f"{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def changed(files: Sequence[Path]) -> datetime:
    """When the newest of them was written."""
    newest = max(path.stat().st_mtime for path in files)
    return datetime.fromtimestamp(newest).astimezone()


def stop_parameters(chat_template: str) -> dict[str, Any]:
    stops = stop_texts(chat_template)
    return {"stop": stops} if stops else {}


def gguf_model(
    path: Path, name: str, source: str, weights: Weights, *, full_name: str = ""
) -> Model:
    """A GGUF that no manifest describes.  Raises `BadGguf`, `NotAModel` or `OSError`."""
    summary = weights.gguf(path)
    if summary.kind != "model":
        raise NotAModel(f"{path} holds a {summary.kind}, not a model")
    files = _shards(path, summary.shards)
    count = sum(weights.gguf(file).parameter_count for file in files)
    return Model(
        name=name,
        full_name=full_name or name,
        format="gguf",
        path=str(path),
        digest=identity(files),
        size=sum(file.stat().st_size for file in files),
        modified_at=changed(files),
        details=msgspec.structs.replace(
            summary.details, parameter_size=details.parameter_size(count)
        ),
        capabilities=summary.capabilities,
        source=source,
        parameters=stop_parameters(summary.chat_template),
        chat_template=summary.chat_template,
    )


def with_projectors(model: Model, paths: Sequence[Path], weights: Weights) -> Model:
    """The model with `paths` as what it sees and hears through."""
    gained = [weights.gguf(path).projected for path in paths]
    return replace(
        model,
        projectors=tuple(map(str, paths)),
        size=model.size + sum(path.stat().st_size for path in paths),
        capabilities=capabilities.merged(model.capabilities, *gained),
    )


def _shards(path: Path, count: int) -> list[Path]:
    """All files of a split GGUF, of which `path` must be the first, as llama.cpp wants it."""
    if count == 1:
        return [path]
    match = _SHARD.fullmatch(path.name)
    if match is None or int(match[2]) != 1 or int(match[3]) != count:
        raise NotAModel(f"{path} is one of {count} parts: name the one that ends -00001-of-…")
    files = [path.with_name(f"{match[1]}-{i + 1:05}-of-{match[3]}.gguf") for i in range(count)]
    missing = next((file for file in files if not file.is_file()), None)
    if missing:
        raise BadGguf(f"{path}: the part {missing.name} is missing")
    return files


def mlx_model(
    folder: Path, name: str, source: str, weights: Weights, *, full_name: str = ""
) -> Model:
    """A folder of config.json and safetensors, as Hugging Face and MLX lay it out.

    Raises `NotAModel`, `BadDocument` or `OSError`.
    """
    shards = shard_files(folder)
    config_path = folder / "config.json"
    config = read_object(config_path)
    recipe = details.quantization(config)
    read = [weights.shard(path) for path in shards]
    template = folder_template(folder, weights)
    spoken = words.in_folder(folder)
    adapter = folder / Path(spoken.adapter).name if spoken.adapter else None
    if adapter and (adapter.name == ".." or not adapter.is_dir()):
        raise BadDocument(f"{folder} is not whole: its adapter is missing")
    extra = [folder / words.FILE, *sorted(adapter.iterdir() if adapter else ())]
    files = [config_path, *shards, *(path for path in extra if path.is_file())]
    found = details.of_config(config, sum(s.parameter_count(recipe) for s in read), read[0].dtype)
    return Model(
        name=name,
        full_name=full_name or name,
        format="mlx",
        path=str(folder),
        digest=identity(files),
        size=sum(file.stat().st_size for file in files),
        modified_at=changed(files),
        details=msgspec.structs.replace(found, parent_model=spoken.source),
        capabilities=capabilities.merged(
            spoken.capabilities,
            _folder_capabilities(folder, config, template, chain(*(s.tensors for s in read))),
            capabilities.of_go_template(spoken.template),
            capabilities.of_parser(spoken.parser, found.family),
        ),
        source=source,
        chat_template=template,
        adapters=(str(adapter),) if adapter else (),
        **_spoken(spoken, template),
    )


def _spoken(spoken: words.Words, chat_template: str) -> dict[str, Any]:
    """The fields of `Model` that `ollmlx.json` fills."""
    if spoken == words.Words():
        return {"parameters": stop_parameters(chat_template)}
    return {
        "parameters": spoken.parameters,
        "template": spoken.template,
        "system": spoken.system,
        "messages": tuple(spoken.messages),
        "licenses": tuple(spoken.licenses),
        "renderer": spoken.renderer,
        "parser": spoken.parser,
        "requires": spoken.requires,
    }


def shard_files(folder: Path) -> list[Path]:
    """The safetensors of a folder, all there.  Raises `NotAModel` or `BadDocument`."""
    shards = sorted(folder.glob("*.safetensors"))
    if not shards or not (folder / "config.json").is_file():
        raise NotAModel(f"{folder} has no weights: expected config.json and *.safetensors")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        listed = read_object(index).get("weight_map")
        names = set(map(str, listed.values())) if isinstance(listed, dict) else set()
        shards = [folder / Path(name).name for name in sorted(names)] or shards
    missing = next((path for path in shards if not path.is_file()), None)
    if missing:
        raise BadDocument(f"{folder} is not whole: {missing.name} is missing")
    return shards


def _folder_capabilities(
    folder: Path, config: Mapping[str, Any], template: str, tensors: Iterable[str]
) -> tuple[str, ...]:
    # Sentence encoders say so by their pipeline file, or by a family that cannot generate.
    family = str(config.get("model_type"))
    encodes = (folder / "modules.json").is_file() or family.endswith(("bert", "roberta"))
    return capabilities.merged(
        ["embedding" if encodes else "completion"],
        ["vision"] if sight.known(config) and sight.whole(folder, tensors) else [],
        capabilities.of_folder_jinja(template),
    )


def folder_template(folder: Path, weights: Weights) -> str:
    """The Jinja chat template of a folder, from the first file that has one; else empty."""
    for name in ("chat_template.jinja", "tokenizer_config.json", "chat_template.json"):
        path = folder / name
        if path.is_file() and (template := weights.chat_template(path)):
            return template
    return ""


def _chat_template(path: Path) -> str:
    if path.suffix == ".jinja":
        return read_bytes(path).decode("utf-8", "replace")
    value = read_object(path).get("chat_template")
    if isinstance(value, list):  # several, by name
        named = {str(t.get("name")): t.get("template") for t in value if isinstance(t, dict)}
        value = named.get("default")
    return text(value)

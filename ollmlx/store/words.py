"""What a model says besides its weights, and how a request changes it.

In Ollama's store it is layers.  A folder of MLX weights has it in `ollmlx.json`, which is written
like every other file of the folder: before the folder appears.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ollmlx.errors import OllmlxError
from ollmlx.store.documents import decode, read_bytes
from ollmlx.store.model import Model
from ollmlx.wire.decode import json_kind
from ollmlx.wire.encode import encode, number
from ollmlx.wire.native import CreateRequest, Message

FILE = "ollmlx.json"


class Words(msgspec.Struct, omit_defaults=True, frozen=True):
    source: str = ""
    """The name of the model this one was made from."""
    template: str = ""
    system: str = ""
    parameters: dict[str, Any] = {}
    licenses: list[str] = []
    messages: list[Message] = []
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    capabilities: list[str] = []
    adapter: str = ""
    """A folder in the folder, in mlx-lm's form."""

    def changed(self, request: CreateRequest) -> "Words":
        """After a create: what it gives replaces, parameters by name; licences are added."""
        return msgspec.structs.replace(
            self,
            template=request.template or self.template,
            system=request.system or self.system,
            parameters={**self.parameters, **request.parameters},
            licenses=[*self.licenses, *licenses(request)],
            messages=request.messages or self.messages,
            renderer=request.renderer or self.renderer,
            parser=request.parser or self.parser,
            requires=request.requires or self.requires,
            capabilities=capabilities(request) or self.capabilities,
        )

    def write(self, folder: Path) -> None:
        """Raises `OSError`."""
        (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))


def in_folder(folder: Path) -> Words:
    """Empty without the file.  Raises `BadDocument` or `OSError`."""
    path = folder / FILE
    return decode(read_bytes(path), path, Words) if path.is_file() else Words()


def of_model(model: Model) -> Words:
    """What a new model inherits from an installed one."""
    return Words(
        source=model.name,
        template=model.template,
        system=model.system,
        parameters=model.parameters,
        licenses=list(model.licenses),
        messages=list(model.messages),
        renderer=model.renderer,
        parser=model.parser,
        requires=model.requires,
    )


def licenses(request: CreateRequest) -> list[str]:
    """Raises `OllmlxError` for a licence that is no text."""
    given = request.license
    if given is None or given == "":
        return []
    texts = given if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in texts):
        kind = json_kind(given)
        raise OllmlxError(f"json: cannot unmarshal {kind} into Go value of type []string")
    return texts


def capabilities(request: CreateRequest) -> list[str]:
    given = request.info.get("capabilities")
    return [one for one in given if isinstance(one, str)] if isinstance(given, list) else []


def encoded_parameters(parameters: Mapping[str, Any]) -> bytes:
    """A `params` layer, as Go writes a map: keys in order."""
    return encode({name: _plain(parameters[name]) for name in sorted(parameters)}) + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    return value


def encoded_messages(messages: list[Message]) -> bytes:
    """A `messages` layer: role and content are always written."""
    return encode([_message(message) for message in messages]) + b"\n"


def _message(message: Message) -> dict[str, Any]:
    always: dict[str, Any] = {"role": message.role, "content": message.content}
    return {**always, **msgspec.to_builtins(message)}

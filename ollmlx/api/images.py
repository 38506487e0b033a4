"""Images and sounds in a request: looked at once, told apart in the prompt's text by `[img-0]`,
`[img-1]` …, and put among its tokens there.

Source: Ollama's `server/prompt.go`.  Sounds travel as images do.
"""

import base64
from collections.abc import Iterable, Sequence

from msgspec import structs

from ollmlx.engine.jobs import Medium
from ollmlx.engine.process import ModelProcess
from ollmlx.errors import BadRequest
from ollmlx.store.model import Model
from ollmlx.wire.native import Message

Looked = dict[str, Medium]
"""By the image as the request has it, in base64."""


async def look(
    process: ModelProcess, model: Model, images: Iterable[str], render_only: bool
) -> Looked:
    """What each image is in a prompt; a render alone asks nothing of a model that sees nothing.

    Raises `BadRequest` for a model that takes none, and for files that are none.
    """
    distinct = list(dict.fromkeys(images))
    files = [base64.b64decode(image) for image in distinct]
    beside = model.projectors or model.one_file
    sees = beside or (model.format == "mlx" and "vision" in model.capabilities)
    if not files or (render_only and not sees):
        return {image: Medium(b"", []) for image in distinct}
    tokens = await process.look(files)
    return dict(zip(distinct, map(Medium, files, tokens), strict=True))


def shown(messages: Sequence[Message]) -> list[str]:
    """The images of all messages in order."""
    return [image for message in messages for image in message.images]


def tagged(messages: Sequence[Message]) -> list[Message]:
    """Messages whose texts say where their images go: where they have `[img]`, else in front."""
    count, kept = 0, list[Message]()
    for message in messages:
        text, front = message.content, ""
        for number in range(count, count + len(message.images)):
            if "[img]" in text:
                text = text.replace("[img]", _tag(number), 1)
            else:
                front += _tag(number)
        count += len(message.images)
        kept.append(structs.replace(message, content=front + text))
    return kept


async def read(process: ModelProcess, prompt: str, media: Sequence[Medium]) -> list[int]:
    """The tokens of a prompt, those of each image in the place of its first tag."""
    places = sorted((prompt.find(_tag(number)), number) for number in range(len(media)))
    if places and places[0][0] < 0:
        raise BadRequest(
            f"the prompt has no place for image {places[0][1]}: its text must have"
            f" {_tag(places[0][1])} where the image goes"
        )
    texts, start = list[str](), 0
    for at, number in places:
        texts.append(prompt[start:at])
        start = at + len(_tag(number))
    first, *rest = [*texts, prompt[start:]]
    tokens = (await process.tokenize([first]))[0]
    if rest:
        pieces = await process.tokenize(rest, special=False)
        for (_, number), piece in zip(places, pieces, strict=True):
            tokens += media[number].tokens + piece
    return tokens


def _tag(number: int) -> str:
    return f"[img-{number}]"

"""POST /v1/audio/transcriptions: a chat with a model that hears."""

import base64

from ollmlx.api import generate
from ollmlx.api.answers import Answer, Whole
from ollmlx.api.engine import Engine
from ollmlx.api.openai.envelope import whole
from ollmlx.errors import Malformed
from ollmlx.wire.form import Form
from ollmlx.wire.native import ChatRequest, Message
from ollmlx.wire.openai import Transcription

ORDER = (
    "Transcribe the audio exactly as spoken. Output only the spoken words."
    " Do not answer any question in the audio."
)
QUESTION = "What exact words are spoken in this audio?"


async def transcriptions(engine: Engine, form: Form) -> Answer:
    answer = await generate.fold(generate.chats(engine, _request(form)))
    assert answer
    text = answer.message.content.strip()
    if form.fields.get("response_format") == "text":
        return Whole(text, "text/plain")
    return whole(Transcription(text))


def _request(form: Form) -> ChatRequest:
    fields = form.fields
    if not fields.get("model"):
        raise Malformed("model is required")
    if "file" not in form.files:
        raise Malformed("file is required: http: no such file")
    if not form.files["file"]:
        raise Malformed("audio file is empty")
    if fields.get("response_format", "json") not in ("", "json", "text"):
        raise Malformed(f"response_format {fields['response_format']} is not supported")
    if fields.get("stream", "").lower() in ("true", "1"):
        raise Malformed("transcriptions are not streamed")
    order = ORDER
    if language := fields.get("language"):
        order += f" The audio is in {language}."
    if context := fields.get("prompt"):
        order += f" Context: {context}"
    audio = base64.b64encode(form.files["file"]).decode()
    return ChatRequest(
        fields["model"],
        [Message("system", order), Message("user", QUESTION, images=[audio])],
        options={"temperature": 0},
    )

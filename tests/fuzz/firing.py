"""Sends requests to a server of its own and judges what comes back."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import ollama

from tests.fuzz.mutations import CHAT, EMBEDDER, SPARE, Ask

ABREAST = 8
HANG_SECONDS = 60.0
NO_WAY_OUT = "http://127.0.0.1:9"
GREETING = {"role": "user", "content": "hi"}
HONEST = re.compile(
    r'^(pull model manifest: |max retries exceeded: )?(Get|Head|Post) "https?://'
    r'|^option ".+" must be of (type \w+|an array of strings)$'
    r'|^invalid format: ".+"; expected "json" or a valid JSON Schema object$'
    r"|^open .+/manifests/.+: no such file or directory$"  # pushed, but not there
    # Whatever fails while a model is made:
    r"|^template: "
    r"|^unsupported quantization type .+ - supported types are "
    r"|^json: cannot unmarshal \w+ into Go value of type \[\]string$"  # a license
    r"|: not a GGUF file",  # a name that is a path, which Ollama does not take
    re.DOTALL,
)
"""Texts that Ollama, too, sends with a 500."""


BROKEN = re.compile(r"internal server error|unexpectedly stopped|error was encountered while")
"""Texts that no stream may end with."""


@dataclass
class Server:
    """A running `ollmlx serve` and what it wrote."""

    url: str
    process: "subprocess.Popen[str]"
    log: list[str] = field(default_factory=list)


@contextmanager
def serving(folder: Path, chat: Path, embedder: Path) -> Iterator[Server]:
    """Two tiny models, and no way out of this machine."""
    environment = {
        **os.environ,
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), NO_WAY_OUT),
        "HF_HUB_OFFLINE": "1",
        "HOME": str(folder),
        "OLLAMA_HOST": "127.0.0.1:0",
        "OLLAMA_MODELS": str(folder / "models"),
        "OLLAMA_CONTEXT_LENGTH": "256",
        "OLLMLX_EMBEDDED": "0",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ollmlx.cli", "serve"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    with process, process.stderr:
        listening = next(line for line in process.stderr if "Listening on" in line)
        found = re.search(r"Listening on (\S+)", listening)
        assert found
        server = Server(f"http://{found[1]}", process)
        reader = threading.Thread(target=server.log.extend, args=(process.stderr,))
        reader.start()
        try:
            with ollama.Client(server.url, trust_env=False) as client:
                for name, file in ((CHAT, chat), (EMBEDDER, embedder), (SPARE, chat)):
                    client.create(name, files={file.name: client.create_blob(file)})
            yield server
        finally:
            process.terminate()
            process.wait(30)
            reader.join()


async def fire(url: str, asks: Iterable[Ask]) -> list[str]:
    """What was wrong with the answers, in sentences."""
    waiting, wrong = iter(asks), list[str]()

    async def shoot(client: httpx.AsyncClient) -> None:
        for ask in waiting:
            if fault := await _fault(client, ask):
                wrong.append(f"{fault}\n    {ask}")

    limits = httpx.Limits(max_connections=ABREAST)
    async with httpx.AsyncClient(
        base_url=url, trust_env=False, timeout=HANG_SECONDS, limits=limits
    ) as client:
        await asyncio.gather(*(shoot(client) for _ in range(ABREAST)))
        wrong += await _still_well(client)
    return wrong


async def _fault(client: httpx.AsyncClient, ask: Ask) -> str:
    started = time.monotonic()
    try:
        answer = await client.request(ask.method, ask.path, content=ask.body, headers=ask.headers)
    except httpx.TimeoutException:
        return f"no answer after {time.monotonic() - started:.0f} s"
    except httpx.HTTPError as error:
        return f"the connection broke: {error!r}"
    if answer.status_code >= 500 and not HONEST.search(_error(answer)):
        return f"{answer.status_code}: {answer.text[:500]}"
    return _misshapen(answer)


def _error(answer: httpx.Response) -> str:
    """The text of an error in Ollama's, OpenAI's or Anthropic's shape; empty for none of them."""
    try:
        told = answer.json()["error"]
        return str(told["message"] if isinstance(told, dict) else told)
    except (ValueError, KeyError, TypeError):
        return ""


def _misshapen(answer: httpx.Response) -> str:
    """Whether the body is what its type says, a stream's last line included."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if kind == "application/json":
        lines = [answer.text]
    elif kind == "application/x-ndjson":
        lines = answer.text.splitlines()
    elif kind == "text/event-stream":
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    else:
        return ""
    for line in lines:
        try:
            said = line and line != "[DONE]" and json.loads(line)
        except ValueError:
            return f"no JSON: {line[:200]!r}"
        if isinstance(said, dict) and BROKEN.search(str(said.get("error", ""))):
            return f"in a stream: {line[:300]}"
    return ""


async def _still_well(client: httpx.AsyncClient) -> list[str]:
    body = {"model": CHAT, "messages": [GREETING], "stream": False, "options": {"temperature": 0}}
    answer = await client.post("/api/chat", json=body)
    if answer.is_success and answer.json()["message"]["content"]:
        return []
    return [f"afterwards a chat is answered with {answer.status_code}: {answer.text[:300]}"]

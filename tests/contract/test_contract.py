"""Recorded answers of a real Ollama against ours, case by case.

Compared are shapes: status, content type, keys and JSON types of every frame, and the literal value
of the keys that clients branch on.  The model is the one that was recorded, the embedder a toy of
the same family.
"""

import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollmlx.settings import Settings
from tests.serving import served

pytestmark = pytest.mark.model
HERE = Path(__file__).parent
MODEL_LAYER = "application/vnd.ollama.image.model"
MODEL, EMBEDDER = "smollm2:135m", "all-minilm:latest"
CASES: list[dict[str, Any]] = json.loads(
    (HERE / "cases.json").read_text().replace("{M}", MODEL).replace("{E}", EMBEDDER)
)
GOLDEN = {
    answer["id"]: answer
    for answer in map(json.loads, (HERE / "golden.jsonl").read_text().splitlines())
}
LITERAL = {
    *("error", "status", "done_reason", "object", "role", "type", "finish_reason", "stop_reason"),
    *(
        "owned_by",
        "family",
        "families",
        "format",
        "quantization_level",
        "parameter_size",
        "capabilities",
        "done",
        "code",
        "param",
        "name_literal",
    ),
}
VOLATILE = re.compile(
    r"[0-9a-f]{12,64}|\d+(\.\d+)?(ms|s|m|h|µs)\b|127\.0\.0\.1:\d+|/[\w./-]*(models|blobs)[\w./-]*"
)


@pytest.fixture(scope="module")
def url(tmp_path_factory, toy_bert):
    store = tmp_path_factory.mktemp("models")
    install(store, toy_bert)
    with served(Settings(models=store)) as url:
        yield url


def install(store: Path, gguf: Path) -> None:
    """Put a GGUF into an Ollama store, the way `ollama create` leaves it."""
    (store / "blobs").mkdir()
    weights = blob(store, gguf.read_bytes())
    config = {
        "model_format": "gguf",
        "model_family": "bert",
        "model_families": ["bert"],
        "model_type": "22.57M",
        "file_type": "Q8_0",
    }
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": "x", **blob(store, json.dumps(config).encode())},
        "layers": [{"mediaType": MODEL_LAYER, **weights}],
    }
    path = store / "manifests/registry.ollama.ai/library/all-minilm/latest"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(manifest))
    # Lists go by the second, newest first: what the cases make has to come before it.
    earlier = time.time() - 10
    os.utime(path, (earlier, earlier))


def blob(store: Path, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (store / "blobs" / f"sha256-{digest}").write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_answers_as_ollama(url, case):
    want, got = GOLDEN[case["id"]], exchange(url, case)
    if not case.get("cors"):
        want, got = ({**side, "allow_origin": None} for side in (want, got))
    assert got == want


def exchange(url: str, case: dict[str, Any]) -> dict[str, Any]:
    content = case.get("raw", json.dumps(case["body"]) if "body" in case else None)
    answer = httpx.request(
        case["method"],
        url + case["path"],
        content=content,
        headers=case.get("headers"),
        timeout=120,
        trust_env=False,
    )
    kind = answer.headers.get("Content-Type", "")
    shapes = [shape(frame) for frame in frames(answer.text, kind)]
    middle: list[Any] = []
    for found in shapes[1:-1]:
        if found not in middle:
            middle.append(found)
    return {
        "id": case["id"],
        "status": answer.status_code,
        "content_type": kind.replace(" ", "").lower(),
        "first": shapes[0] if shapes else None,
        "middle": middle,
        "last": shapes[-1] if len(shapes) > 1 else None,
        "allow_origin": answer.headers.get("Access-Control-Allow-Origin"),
    }


def frames(text: str, kind: str) -> list[Any]:
    if not text:
        return []
    if "event-stream" in kind:
        return [event(block) for block in text.split("\n\n") if block.strip()]
    if "ndjson" in kind:
        return [json.loads(line) for line in text.splitlines()]
    if "json" in kind:
        return [json.loads(text)]
    return [{"name_literal": text[:200]}]


def event(block: str) -> dict[str, Any]:
    fields = dict(line.split(": ", 1) for line in block.splitlines())
    data = fields["data"]
    found = {"name_literal": data} if data == "[DONE]" else {"data": json.loads(data)}
    return {**found, "type": fields["event"]} if "event" in fields else found


def shape(value: Any, key: str = "") -> Any:
    match value:
        case dict():
            return {k: shape(v, k) for k, v in value.items()}
        case list() if key in LITERAL:
            return sorted(map(str, value))
        case list():
            distinct: list[Any] = []
            for item in map(shape, value):
                if item not in distinct:
                    distinct.append(item)
            return distinct
        case None:
            return None
        case bool():
            return value if key in LITERAL else "bool"
        case int() | float():
            return "num"
        case _:
            return VOLATILE.sub("*", value) if key in LITERAL else "str"

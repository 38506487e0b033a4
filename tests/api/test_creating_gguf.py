"""Create for GGUF through the open door: what is reported, what is written, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from ollmlx.gguf import header
from tests.api.creating import create, statuses, upload
from tests.convert import tiny
from tests.convert.tiny import contents
from tests.store.shelf import CHATML, OllamaFolder, write_gguf
from tests.toy import ToyModels

CONFIG = {"model_format": "gguf", "model_family": "llama", "file_type": "Q8_0"}


def manifest(root: Path, model: str = "made") -> dict[str, Any]:
    path = root / "manifests/registry.ollama.ai/library" / model / "latest"
    return json.loads(path.read_bytes())


def layer(root: Path, kind: str, model: str = "made") -> bytes:
    layers = manifest(root, model)["layers"]
    digest = next(one["digest"] for one in layers if one["mediaType"].endswith(f".{kind}"))
    return (root / "blobs" / digest.replace(":", "-")).read_bytes()


def simple(path: Path, template: str) -> Path:
    """The toy with a template that does nothing but write turns."""
    meta, tensors = contents(path)
    target = path.with_name("simple.gguf")
    tiny.write_gguf(target, meta | {"tokenizer.chat_template": template}, tensors)
    return target


async def test_a_file_becomes_a_model_with_the_template_of_its_family(client, root, toy: ToyModels):
    digest = await upload(client, simple(toy.gguf, CHATML).read_bytes())
    frames = await create(client, files={"toy.gguf": digest}, system="Be brief.", license="MIT")
    assert statuses(frames) == [
        "parsing GGUF",
        "validating GGUF model",
        "verifying conversion",
        "using existing layer"
        if frames[-8]["status"].startswith("using")
        else "creating new layer",
        "using autodetected template chatml",
        "creating new layer",
        "creating new layer",
        "creating new layer",
        "writing manifest",
        "success",
    ]
    kinds = [one["mediaType"].rpartition(".")[2] for one in manifest(root)["layers"]]
    assert kinds == ["model", "template", "system", "license", "params"]
    assert (
        layer(root, "params") == b'{"stop":["\\u003c|im_start|\\u003e","\\u003c|im_end|\\u003e"]}\n'
    )
    assert (await client.post("/api/show", json={"model": "made"})).json()["system"] == "Be brief."


async def test_weights_are_quantised_and_say_so(client, root, toy: ToyModels):
    digest = await upload(client, toy.gguf.read_bytes())
    frames = await create(client, files={"toy.gguf": digest}, quantize="q8_0")
    assert statuses(frames)[:3] == [
        "parsing GGUF",
        "quantizing F32 model to Q8_0",
        "verifying conversion",
    ]
    progress = [frame for frame in frames if frame["status"].startswith("quantizing")]
    assert {frame["digest"] for frame in progress} == {"0" * 19}
    assert progress[-1]["completed"] == progress[-1]["total"] == toy.gguf.stat().st_size
    shown = (await client.post("/api/show", json={"model": "made"})).json()
    assert shown["details"]["quantization_level"] == "Q8_0"
    answer = await client.post(
        "/api/generate",
        json={"model": "made", "prompt": "hi", "stream": False, "options": {"num_predict": 2}},
    )
    assert answer.status_code == 200


async def test_weights_in_parts_are_joined(client, root, toy: ToyModels, tmp_path):
    names = split(toy.gguf, tmp_path)
    digests = {path.name: await upload(client, path.read_bytes()) for path in names}
    frames = await create(client, files=digests)
    assert frames[-1] == {"status": "success"}
    model = next(
        one["digest"] for one in manifest(root)["layers"] if one["mediaType"].endswith(".model")
    )
    whole, joined = header(toy.gguf), header(root / "blobs" / model.replace(":", "-"))
    assert {t.name for t in joined.tensors} == {t.name for t in whole.tensors}
    assert "split.count" not in joined.meta or joined.meta["split.count"] in (0, 1)
    one = dict(list(digests.items())[:1])
    refused = await create(client, model="half", files=one)
    assert "has 1 shards, expected 2" in refused[-1]["error"]
    renamed = {"other.gguf": digests[names[0].name]}
    refused = await create(client, model="half", files=renamed)
    assert refused[-1]["error"] == (
        'split GGUF "other.gguf" must use llama.cpp split filename pattern'
    )


def split(path: Path, folder: Path) -> list[Path]:
    meta, tensors = contents(path)
    half, paths = len(tensors) // 2, list[Path]()
    for number, names in enumerate((list(tensors)[:half], list(tensors)[half:])):
        told = {"split.no": number, "split.count": 2, "split.tensors.count": len(tensors)}
        told |= meta if number == 0 else {"general.architecture": "llama"}
        paths.append(folder / f"toy-{number + 1:05}-of-00002.gguf")
        tiny.write_gguf(paths[-1], told, {name: tensors[name] for name in names})
    return paths


async def test_overwriting_a_model_removes_what_only_it_had(client, root, tmp_path):
    store = OllamaFolder(root)
    weights = write_gguf(tmp_path / "w.gguf").read_bytes()
    store.add("registry.ollama.ai/library/base/latest", CONFIG, ("model", weights))
    await create(client, **{"from": "base"}, system="first")
    first = set((root / "blobs").iterdir())
    await create(client, **{"from": "base"}, system="second")
    assert len(first - set((root / "blobs").iterdir())) == 1
    assert layer(root, "system") == b"second"


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({"model": ""}, 400, "invalid model name"),
        ({"files": {"/etc/x.gguf": "sha256:1"}}, 400, "file path must be relative"),
        ({"files": {"../x.gguf": "sha256:1"}}, 400, "file path must be relative"),
        ({"files": {"x.gguf": ""}}, 400, "invalid digest format"),
        ({}, 400, "neither 'from' or 'files' was specified"),
        ({"from": "base", "template": "{{ .Prompt"}, 400, "template error: "),
        ({"from": "/etc/passwd"}, 400, "invalid model name"),
        ({"from": "base", "info": {"model_family": 1}}, 400, 'info field "model_family" must be a'),
        ({"from": "base", "info": {"context_length": -1}}, 400, 'info field "context_length" must'),
        ({"from": "base", "quantize": "Q9"}, 500, "unsupported quantization type Q9 - supported"),
        ({"from": "base", "quantize": "Q4_0"}, 500, "quantization is only supported for F16, BF16"),
        ({"from": "base", "draft_quantize": "F16"}, 400, "--draft-quantize requires a DRAFT model"),
        ({"from": "base", "remote_host": "http://[::1"}, 400, "bad remote"),
        ({"files": {"x.txt": "T"}}, 400, "unknown type"),
        ({"files": {"x.txt": f"sha256:{'0' * 64}"}}, 400, "unknown type"),
        ({"files": {"x.txt": "no digest"}}, 400, "unknown type"),
        ({"from": "base", "draft_files": {"x": f"sha256:{'0' * 64}"}}, 400, "unknown type"),
        (
            {"from": "base", "license": 5},
            500,
            "json: cannot unmarshal number into Go value of type",
        ),
        ({"from": "x:cloud:local"}, 400, "invalid model name"),
        ({"model": "a:b:local", "from": "base"}, 400, "invalid model name"),
        ({"files": {"x.gguf": "T"}}, 500, "parsing GGUF"),
        ({"files": {"x.gguf": "sha256:" + "0" * 64}}, 500, "parsing GGUF"),
    ],
)
async def test_refusals_are_worded_as_ollama_words_them(
    client, root, tmp_path, request_, status, message
):
    weights = write_gguf(tmp_path / "w.gguf").read_bytes()
    OllamaFolder(root).add("registry.ollama.ai/library/base/latest", CONFIG, ("model", weights))
    text = await upload(client, b"only text")
    files = {k: text if v == "T" else v for k, v in request_.get("files", {}).items()}
    body = {"model": "made", **request_, **({"files": files} if files else {})}
    response = await client.post("/api/create", json=body)
    first = json.loads(response.text.splitlines()[0])
    if "status" in first:
        assert (response.status_code, first["status"]) == (200, message)
        last = json.loads(response.text.splitlines()[-1])["error"]
        assert last == "supplied file was not in GGUF format" or last.startswith("open /")
    else:
        assert (response.status_code, first["error"][: len(message)]) == (status, message)
    assert not (root / "manifests/registry.ollama.ai/library/made").exists()


async def test_a_hostile_header_costs_an_error(client, root):
    bomb = b"GGUF" + (3).to_bytes(4, "little") + (1 << 60).to_bytes(8, "little") * 2
    digest = await upload(client, bomb)
    frames = await create(client, files={"x.gguf": digest})
    assert "not believable" in frames[-1]["error"]
    assert list((root / "manifests").glob("**/made")) == []

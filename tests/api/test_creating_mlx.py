"""Create for folders of safetensors through the open door."""

import json

import httpx
import pytest

from tests.api.creating import create, statuses, upload, upload_folder
from tests.convert.test_fp8 import make
from tests.toy import REPLY, ToyModels

FOLDER = "mlx/registry.ollama.ai/library/made/latest"


async def said(client: httpx.AsyncClient, model: str = "made") -> str:
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": model, "messages": messages, "stream": False, "options": {"temperature": 0}}
    response = await client.post("/api/chat", json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["message"]["content"])


async def test_a_folder_becomes_an_mlx_model_with_words_of_its_own(
    client, root, scripted: ToyModels
):
    files = await upload_folder(client, scripted.mlx)
    frames = await create(
        client,
        files=files,
        system="Be brief.",
        license=["MIT"],
        parameters={"top_k": 3},
        messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    )
    assert statuses(frames) == [
        "converting model",
        "verifying conversion",
        "writing manifest",
        "success",
    ]
    shown = (await client.post("/api/show", json={"model": "made"})).json()
    assert shown["system"] == "Be brief."
    assert shown["license"] == "MIT"
    assert "top_k                          3" in shown["parameters"].splitlines()
    assert [m["content"] for m in shown["messages"]] == ["a", "b"]
    assert shown["details"]["format"] == "safetensors"
    listed = (await client.get("/api/tags")).json()["models"]
    assert [m["name"] for m in listed] == ["made:latest"]
    assert await said(client) == REPLY


async def test_a_model_made_from_another_shares_its_weights_and_inherits_its_words(
    client, root, scripted: ToyModels
):
    files = await upload_folder(client, scripted.mlx)
    await create(client, files=files, system="First.", parameters={"top_k": 3})
    frames = await create(client, model="next", **{"from": "made"}, parameters={"seed": 1})
    assert statuses(frames) == ["writing manifest", "success"]
    next_folder = root / FOLDER.replace("made", "next")
    weights = "model.safetensors"
    assert (next_folder / weights).samefile(root / FOLDER / weights)
    shown = (await client.post("/api/show", json={"model": "next"})).json()
    assert shown["system"] == "First."
    assert {"seed", "top_k"} <= {line.split()[0] for line in shown["parameters"].splitlines()}
    assert shown["details"]["parent_model"] == "made:latest"


async def test_a_loaded_model_that_is_replaced_answers_with_the_new_weights(
    client, scripted: ToyModels, toy: ToyModels
):
    await create(client, files=await upload_folder(client, scripted.mlx))
    assert await said(client) == REPLY
    await create(client, files=await upload_folder(client, toy.mlx), parameters={"num_predict": 3})
    assert await said(client) != REPLY


async def test_a_folder_is_quantised_as_the_recipe_says_answers_and_is_not_quantised_again(
    client, root, scripted: ToyModels
):
    files = await upload_folder(client, scripted.mlx)
    for kind, level in (("mxfp4", "mxfp4"), ("mixed_3_6", "int3")):
        frames = await create(client, files=files, quantize=kind)
        assert frames[-1] == {"status": "success"}
        assert f"quantizing F32 model to {kind.upper()}" in statuses(frames)
        shown = (await client.post("/api/show", json={"model": "made"})).json()
        assert shown["details"]["quantization_level"] == level
        config = json.loads((root / FOLDER / "config.json").read_text())
        assert config["quantization"]["bits"] == int(level[-1])
    assert await said(client) == REPLY
    again = await create(client, model="again", **{"from": "made"}, quantize="int4")
    assert again[-1]["error"] == ("quantization is only supported for F16, BF16 and F32 models")
    assert not (root / FOLDER.replace("made", "again")).exists()


async def test_weights_of_eight_bits_stay_as_many_unless_told_otherwise(
    client, scripted: ToyModels, tmp_path
):
    make(tmp_path / "fp8", scripted, "tensor")
    files = await upload_folder(client, tmp_path / "fp8")
    frames = await create(client, files=files)
    assert frames[-1] == {"status": "success"}
    assert "quantizing BF16 model to Q8_0" in statuses(frames)
    shown = (await client.post("/api/show", json={"model": "made"})).json()
    assert shown["details"]["quantization_level"] == "int8"


@pytest.mark.parametrize(
    "change", [{"hidden_size": 3}, {"num_hidden_layers": 10**9}, {"model_type": "../../evil"}]
)
async def test_weights_that_no_model_can_be_made_of_are_refused(client, root, scripted, change):
    files = await upload_folder(client, scripted.mlx)
    config = json.loads((scripted.mlx / "config.json").read_text())
    files["config.json"] = await upload(client, json.dumps({**config, **change}).encode())
    frames = await create(client, files=files)
    assert "error" in frames[-1]
    assert not (root / FOLDER).exists()
    assert [path for path in (root / ".ollmlx-work").iterdir() if path.is_dir()] == []


async def test_code_in_a_folder_is_never_run(client, root, scripted, tmp_path):
    files = await upload_folder(client, scripted.mlx)
    config = json.loads((scripted.mlx / "config.json").read_text())
    proof = tmp_path / "run"
    code = f"open({str(proof)!r}, 'w')".encode()
    files["evil.py"] = await upload(client, code)
    files["config.json"] = await upload(
        client, json.dumps({**config, "model_file": "evil.py"}).encode()
    )
    frames = await create(client, files=files)
    assert "custom module" in frames[-1]["error"]
    assert not proof.exists()


async def test_an_unknown_recipe_is_refused_before_anything_is_read(client, scripted):
    frames = await create(client, files=await upload_folder(client, scripted.mlx), quantize="Q9")
    assert frames[0]["error"].startswith("unsupported quantization type Q9")


async def test_weights_without_a_config_are_refused_in_ollamas_words(client):
    digest = await upload(client, b"weights")
    frames = await create(client, files={"model.safetensors": digest})
    error = "open config.json: no such file or directory"
    assert frames == [{"status": "converting model"}, {"error": error}]

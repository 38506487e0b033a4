"""Adapters of PEFT's on both engines: the same matrices change the same answers."""

import json
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.api.creating import create, upload, upload_folder
from tests.convert.tiny import write_gguf
from tests.toy import FEED_FORWARD, HEAD, HIDDEN, KV_HEADS, LAYERS, ToyModels

RANK, ALPHA = 4, 8
WEIGHTS = "adapter_model.safetensors"
OUTPUTS = {
    "self_attn.q_proj": HIDDEN,
    "self_attn.k_proj": KV_HEADS * HEAD,
    "self_attn.v_proj": KV_HEADS * HEAD,
    "mlp.up_proj": FEED_FORWARD,
}


@pytest.fixture
def peft(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    tensors = {}
    for layer in range(LAYERS):
        for module, outputs in OUTPUTS.items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            shapes = {"A": (RANK, HIDDEN), "B": (outputs, RANK)}
            for part, shape in shapes.items():
                numbers = random.normal(0, 0.3, shape).astype(np.float32)
                tensors[f"{name}.lora_{part}.weight"] = numbers
    folder = tmp_path / "peft"
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "use_rslora": False}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


async def likeliest(client: httpx.AsyncClient, model: str) -> list[tuple[str, float]]:
    """The first ten tokens that the model finds likeliest after a prompt."""
    body = {
        "model": model,
        "prompt": "Hello there",
        "raw": True,
        "stream": False,
        "logprobs": True,
        "top_logprobs": 10,
        "options": {"num_predict": 1, "temperature": 0},
    }
    response = await client.post("/api/generate", json=body)
    assert response.status_code == 200, response.text
    top = response.json()["logprobs"][0]["top_logprobs"]
    return [(one["token"], one["logprob"]) for one in top]


async def test_an_adapter_means_the_same_on_both_engines(client, toy: ToyModels, peft: Path):
    adapter = await upload_folder(client, peft)
    weights = {"toy.gguf": await upload(client, toy.gguf.read_bytes())}
    folder = await upload_folder(client, toy.mlx)
    assert (await create(client, model="plain", files=weights))[-1] == {"status": "success"}
    frames = await create(client, model="gguf", **{"from": "plain"}, adapters=adapter)
    assert {"status": "converting adapter"} in frames
    assert frames[-1] == {"status": "success"}
    frames = await create(client, model="mlx", files=folder, adapters=adapter)
    assert frames[-1] == {"status": "success"}
    plain, left, right = [await likeliest(client, name) for name in ("plain", "gguf", "mlx")]
    assert left[0][1] != pytest.approx(plain[0][1], abs=1e-2)
    assert [token for token, _ in left] == [token for token, _ in right]
    assert [p for _, p in left] == pytest.approx([p for _, p in right], abs=1e-2)
    copied = await client.post("/api/copy", json={"source": "mlx", "destination": "mlx2"})
    assert copied.status_code == 200
    await create(client, model="mlx3", **{"from": "mlx2"}, system="x")
    assert await likeliest(client, "mlx3") == right


async def test_an_adapter_with_magnitudes_means_what_its_paper_says(
    client, toy: ToyModels, peft: Path, tmp_path: Path
):
    """DoRA: rows of the sum of both have the norms that the adapter tells."""
    adapter, weights = load_file(peft / WEIGHTS), load_file(toy.mlx / "model.safetensors")
    for name in [name for name in adapter if name.endswith("lora_A.weight")]:
        b = adapter[name.replace("lora_A", "lora_B")]
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        magnitude = np.linspace(0.5, 3, len(b), dtype=np.float32)
        adapter[f"base_model.model.{module}.lora_magnitude_vector"] = magnitude
        rows = weights[f"{module}.weight"] + ALPHA / RANK * b @ adapter[name]
        rows *= (magnitude / np.linalg.norm(rows, axis=1))[:, None]
        weights[f"{module}.weight"] = rows
    save_file(adapter, peft / WEIGHTS)
    config = json.loads((peft / "adapter_config.json").read_text())
    (peft / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    merged = Path(shutil.copytree(toy.mlx, tmp_path / "merged"))
    save_file(weights, merged / "model.safetensors", {"format": "mlx"})
    expected = await likeliest(client, str(merged))
    files, told = await upload_folder(client, toy.mlx), await upload_folder(client, peft)
    frames = await create(client, files=files, adapters=told)
    assert frames[-1] == {"status": "success"}
    said = await likeliest(client, "made")
    assert [token for token, _ in said] == [token for token, _ in expected]
    assert [p for _, p in said] == pytest.approx([p for _, p in expected], abs=1e-3)


async def test_an_adapter_as_gguf_is_a_layer(client, toy: ToyModels, tmp_path: Path):
    path = tmp_path / "lora.gguf"
    meta = {"general.architecture": "llama", "general.type": "adapter"}
    meta |= {"adapter.type": "lora", "adapter.lora.alpha": 8.0}
    shapes = {"lora_a": (4, HIDDEN), "lora_b": (KV_HEADS * HEAD, 4)}
    low = {f"blk.0.attn_v.weight.{part}": np.ones(s, "f4") for part, s in shapes.items()}
    write_gguf(path, meta, low)
    weights = {"toy.gguf": await upload(client, toy.gguf.read_bytes())}
    lora = {"lora.gguf": await upload(client, path.read_bytes())}
    frames = await create(client, files=weights, adapters=lora)
    assert frames[-1] == {"status": "success"}
    shown = (await client.post("/api/show", json={"model": "made"})).json()
    assert "\nADAPTER /" in shown["modelfile"]
    await create(client, model="plain", files=weights)
    assert await likeliest(client, "made") != await likeliest(client, "plain")
    refused = await create(client, model="x", files=weights, adapters=weights)
    assert refused[-1]["error"] == "toy.gguf holds a model, not an adapter"
    two = {**lora, "second.gguf": lora["lora.gguf"]}
    refused = await create(client, model="x", files=weights, adapters=two)
    assert refused[-1]["error"] == "only one adapter is currently supported"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "an adapter of type IA3 cannot be converted"),
        ({"use_dora": True}, "an adapter with use_dora cannot be converted"),
        ({"r": -1}, "the adapter's r is -1"),
        ({"r": 5}, "is not of rank 5"),
    ],
)
async def test_an_adapter_that_means_something_else_is_refused(
    client, toy: ToyModels, peft: Path, change, message
):
    config = json.loads((peft / "adapter_config.json").read_text())
    (peft / "adapter_config.json").write_text(json.dumps({**config, **change}))
    weights = {"toy.gguf": await upload(client, toy.gguf.read_bytes())}
    adapter = await upload_folder(client, peft)
    frames = await create(client, files=weights, adapters=adapter)
    assert message in frames[-1]["error"]

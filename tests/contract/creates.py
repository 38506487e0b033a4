"""Creates, and the manifests that a real Ollama wrote for them.

`python -m tests.contract.creates URL MODELS` sends them to an Ollama at URL whose OLLAMA_MODELS is
MODELS, and writes `creates.json`: the manifest of each, as a text.  Recorded on 2026-11-23 with the
source of 2026-08-21 and the llama-quantize of the llama.cpp in llama-cpp-python 0.3.36.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.api.creating import create, upload
from tests.convert.tiny import write_gguf
from tests.store.shelf import CHATML

RECORDED = Path(__file__).with_name("creates.json")
WIDTH = 32
WORDS: dict[str, Any] = {
    "template": "{{ .Prompt }}!",
    "system": "Be <brief> & kind.\u2028",
    "license": ["MIT", "BSD"],
    "parameters": {"temperature": 0.5, "num_ctx": 64, "top_p": 1e-7, "min_p": 1e21, "stop": ["<"]},
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": ""}],
}
INFO = {
    "capabilities": ["tools"],
    "model_family": "own",
    "base_name": "base",
    "quantization_level": "Q",
    "parameter_size": "9B",
    "context_length": 5,
    "embedding_length": 6,
}
CASES: list[dict[str, Any]] = [
    {"model": "plain", "files": ["plain"]},
    {"model": "named", "files": ["chatml"]},
    {"model": "two", "files": ["chatml", "plain"]},
    {"model": "words", "files": ["chatml"], **WORDS},
    {"model": "single", "files": ["single"]},
    {"model": "q8", "files": ["plain"], "quantize": "q8_0"},
    {"model": "f32", "files": ["plain"], "quantize": "f32"},
    {"model": "bf16", "files": ["plain"], "quantization": "bf16"},
    {"model": "fp8", "files": ["fp8"]},
    {"model": "split", "files": ["part-00001-of-00002", "part-00002-of-00002"]},
    {"model": "eye", "files": ["eye-00001-of-00002", "eye-00002-of-00002"]},
    {"model": "seeing", "files": ["seeing"]},
    {"model": "seeing-q8", "files": ["seeing"], "quantize": "q8_0"},
    {"model": "projector", "files": ["plain", "projector"]},
    {"model": "llava", "files": ["llava", "plain"]},
    {"model": "adapter", "files": ["plain"], "adapters": ["adapter"]},
    {"model": "draft", "files": ["plain"], "draft_files": ["chatml"]},
    {"model": "draft-q8", "files": ["plain"], "draft_files": ["chatml"], "draft_quantize": "q8_0"},
    {"model": "asking", "files": ["plain"], "requires": "0.14.0", "parser": "qwen3"},
    {"model": "info", "files": ["plain"], "info": INFO},
    {"model": "same", "from": "words"},
    {"model": "changed", "from": "words", "system": "x", "parameters": {"seed": 1}, "license": "X"},
    {"model": "again", "from": "asking", "requires": "0.15.1", "renderer": "qwen3-coder"},
    {"model": "later-q8", "from": "named", "quantize": "q8_0"},
    {"model": "guessing", "from": "draft", "system": "x"},
    {"model": "lent", "from": "llava", "adapters": ["adapter"]},
    {"model": "far", "from": "big:20b", "remote_host": "ollama.com", "info": INFO, "system": "x"},
    {"model": "port", "from": "big:20b", "remote_host": "example.org:99/a/../b/"},
    {"model": "cloud", "from": "big:20b-cloud"},
]
"""Files are named by what `write` calls them."""


async def played(client: httpx.AsyncClient, files: Mapping[str, Path], case: Any) -> None:
    """Raises `AssertionError` when the server does not make the model."""
    request = dict(case)
    for key in ("files", "adapters", "draft_files"):
        if key in case:
            paths = [files[name] for name in case[key]]
            request[key] = {path.name: await upload(client, path.read_bytes()) for path in paths}
    frames = await create(client, **request)
    assert frames[-1] == {"status": "success"}, (case["model"], frames[-1])


def manifest(models: Path, name: str) -> str:
    return (models / f"manifests/registry.ollama.ai/library/{name}/latest").read_text()


def write(folder: Path) -> dict[str, Path]:
    """Everything that `CASES` names, the same bytes each time."""
    half = {"general.file_type": 1}
    chat = {"tokenizer.chat_template": CHATML.replace("message", "turn") + "{# a note #}"}
    fp8 = {"llama.source_quantization": "hf_fp8", "llama.source_fp8_tensors": ["token_embd.weight"]}
    clip = {"clip.has_vision_encoder": True, "clip.vision.image_mean": [0.5, 0.25]}
    weights, single = _weights(np.float16), _weights(np.float32)
    senses = {"v.patch_embd.weight": _matrix(4, 4), "mm.0.weight": _matrix(4, 4)}
    low = {
        "blk.0.attn_v.weight.lora_a": _matrix(4, WIDTH),
        "blk.0.attn_v.weight.lora_b": _matrix(WIDTH, 4),
    }
    adapter = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 8.0}
    made = {
        "plain": _file(folder / "plain.gguf", _LLAMA | half, weights),
        "chatml": _file(folder / "chatml.gguf", _LLAMA | half | chat, weights),
        "single": _file(folder / "single.gguf", _LLAMA | {"general.file_type": 0}, single),
        "fp8": _file(folder / "fp8.gguf", _LLAMA | half | fp8, weights),
        "seeing": _file(folder / "seeing.gguf", _LLAMA | half, weights | senses),
        "adapter": _file(folder / "adapter.gguf", adapter, low),
        "llava": _file(folder / "a-llava.gguf", clip | {"own.key": "x"}, senses, "clip"),
        "projector": _file(
            folder / "mmproj.gguf", clip | {"clip.projector_type": "mlp"}, senses, "clip"
        ),
    }
    parts = _parts(folder, "part", half, weights) | _parts(folder, "eye", half, weights | senses)
    return made | parts


def _parts(
    folder: Path, stem: str, keys: Mapping[str, Any], tensors: Mapping[str, Any]
) -> dict[str, Path]:
    """The model in two files, as llama.cpp splits one: only the first has the metadata."""
    names, made = sorted(tensors), {}
    for number, part in enumerate((names[:4], names[4:])):
        told = {"split.no": number, "split.count": 2, "split.tensors.count": len(names)}
        told |= (_LLAMA | keys) if number == 0 else {}
        label = f"{stem}-{number + 1:05}-of-00002"
        made[label] = _file(folder / f"{label}.gguf", told, {name: tensors[name] for name in part})
    return made


_LLAMA: dict[str, Any] = {
    "llama.block_count": 1,
    "llama.context_length": 64,
    "llama.embedding_length": WIDTH,
    "llama.feed_forward_length": WIDTH,
    "llama.attention.head_count": 1,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.dimension_count": WIDTH,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "default",
    "tokenizer.ggml.tokens": [chr(33 + number) for number in range(64)],
    "tokenizer.ggml.token_type": [1] * 64,
    "tokenizer.ggml.merges": ["! !"],
}


def _weights(kind: type[np.floating[Any]]) -> dict[str, Any]:
    block = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    square = {f"blk.0.{name}.weight": _matrix(WIDTH, WIDTH).astype(kind) for name in block}
    norms = ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight")
    ones = {name: np.ones(WIDTH, np.float32) for name in norms}
    return {"token_embd.weight": _matrix(64, WIDTH).astype(kind), **square, **ones}


def _matrix(rows: int, columns: int) -> Any:
    """Values that every type of numbers can hold, and every processor rounds alike."""
    return (np.arange(rows * columns, dtype=np.float32) % 17 - 8).reshape(rows, columns) / 8


def _file(
    path: Path, keys: Mapping[str, Any], tensors: Mapping[str, Any], arch: str = "llama"
) -> Path:
    write_gguf(path, {"general.architecture": arch} | dict(keys), tensors)
    return path


async def _record(url: str, models: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder))
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            for case in CASES:
                await played(client, files, case)
    recorded = {case["model"]: manifest(models, case["model"]) for case in CASES}
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(_record(sys.argv[1], Path(sys.argv[2])))

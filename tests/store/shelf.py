"""Small models and an Ollama store made by hand, as Ollama's own tools would lay them out."""

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_gguf(path: Path, arch: str = "llama", **keys: Any) -> Path:
    """A GGUF of two small tensors.  `keys` are metadata, with `__` for the dots."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(2048)
    writer.add_embedding_length(64)
    writer.add_file_type(7)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_token_list([f"token {i}" for i in range(1200)])
    for key, value in keys.items():
        _add(writer, key.replace("__", "."), value)
    writer.add_tensor("token_embd.weight", np.arange(640, dtype=np.float32).reshape(10, 64))
    block = gguf.GGMLQuantizationType.Q8_0
    rows = gguf.quants.quantize(np.ones((4, 32), np.float32), block)
    writer.add_tensor("output.weight", rows, raw_dtype=block)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    else:
        writer.add_string(key, value)


class OllamaFolder:
    """A store as Ollama writes it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs").mkdir(parents=True)

    def blob(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        (self.root / "blobs" / f"sha256-{digest}").write_bytes(data)
        return f"sha256:{digest}"

    def add(
        self, name: str, config: dict[str, Any], *layers: tuple[str, bytes], when: int = 0
    ) -> bytes:
        """Write the blobs and the manifest of `host/namespace/model/tag`; the manifest's bytes."""
        data = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2,
            "config": {"mediaType": "config", "digest": self.blob(data), "size": len(data)},
            "layers": [
                {
                    "mediaType": f"application/vnd.ollama.image.{kind}",
                    "digest": self.blob(content),
                    "size": len(content),
                    **({"from": "base:latest"} if kind == "model" else {}),
                }
                for kind, content in layers
            ],
        }
        text = json.dumps(manifest).encode() + b"\n"
        self.write(name, text, when)
        return text

    def write(self, name: str, text: bytes, when: int = 0) -> Path:
        path = self.root / "manifests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        os.utime(path, (1_700_000_000 + when,) * 2)
        return path


def write_mlx(folder: Path, config: dict[str, Any] | None = None, template: str = CHATML) -> Path:
    """An MLX folder: one layer packed to four bits in groups of 64, one plain."""
    folder.mkdir(parents=True)
    tensors = {
        "model.embed_tokens.weight": ("U32", [16, 8]),
        "model.embed_tokens.scales": ("BF16", [16, 1]),
        "model.embed_tokens.biases": ("BF16", [16, 1]),
        "model.norm.weight": ("BF16", [64]),
    }
    write_safetensors(folder / "model.safetensors", tensors)
    default = {
        "model_type": "llama",
        "hidden_size": 64,
        "max_position_embeddings": 4096,
        "num_hidden_layers": 1,
        "vocab_size": 16,
        "quantization": {"bits": 4, "group_size": 64},
    }
    (folder / "config.json").write_text(json.dumps(config or default))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    return folder


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int]]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = int(np.prod(shape)) * {"U32": 4, "BF16": 2}[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))

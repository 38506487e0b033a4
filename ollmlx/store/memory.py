"""What a model needs of memory beside its weights, read from its header."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ollmlx.errors import LoadFailed
from ollmlx.gguf import Header, header
from ollmlx.store.model import Model

# Bytes an element of the KV cache takes, block scales included.
CACHE_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}


@dataclass(frozen=True)
class Needs:
    """What loading a model takes beside its weights."""

    cache_per_token: int
    """Bytes of KV cache for one token of one sequence; 0 for models that keep none."""
    layers: int
    """That can be put on a GPU one by one, the output's included; 0 where none can."""


def needs(model: Model, cache_type: str) -> Needs:
    """Raises `LoadFailed` for a header whose numbers are none, or `OSError`."""
    if model.format == "echo":
        return Needs(0, 0)
    path = Path(model.path)
    source = path if model.format == "gguf" else path / "config.json"
    try:
        elements, layers = _shape(source, source.stat().st_mtime_ns)
        return Needs(int(elements * CACHE_BYTES[cache_type]), layers)
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise LoadFailed(f"cannot tell what {source} needs of memory: {error}") from error


@functools.lru_cache(maxsize=256)
def _shape(path: Path, _changed: int) -> tuple[int, int]:
    """Elements of cache for a token, and layers."""
    if path.name == "config.json":
        return _folder_elements(json.loads(path.read_bytes())), 0
    found = header(path)
    blocks = found.key("block_count", 0)
    return _gguf_elements(found), blocks + 1 if isinstance(blocks, int) else 0


def _gguf_elements(found: Header) -> int:
    if found.key("pooling_type") is not None:
        return 0
    layers, heads = found.key("block_count", 0), found.key("attention.head_count", 1)
    if rank := found.key("attention.kv_lora_rank"):  # compressed, whatever each head has of it
        return int(layers * (2 * rank + found.key("rope.dimension_count", 0)))
    kv_heads = found.key("attention.head_count_kv", heads)
    most = max(heads) if isinstance(heads, list) else heads
    width = found.key("embedding_length", 0) // (most or 1)
    rows = found.key("attention.key_length", width) + found.key("attention.value_length", width)
    every = sum(kv_heads) if isinstance(kv_heads, list) else kv_heads * layers
    return int(every * rows)


def _folder_elements(config: dict[str, Any]) -> int:
    config = config.get("text_config") or config
    layers, heads = config.get("num_hidden_layers") or 0, config.get("num_attention_heads") or 1
    width = config.get("head_dim") or (config.get("hidden_size") or 0) // heads
    return int(layers * (config.get("num_key_value_heads") or heads) * width * 2)

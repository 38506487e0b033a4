"""What a model needs of memory beside its weights, read from its header."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ollmlx.errors import LoadFailed
from ollmlx.gguf import Header, header
from ollmlx.store.details import whole
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
    def told(name: str, default: Any) -> Any:
        """A number, and of heads maybe one for each layer."""
        value = found.key(name, default)
        several = isinstance(value, list) and "head_count" in name
        if not all(isinstance(one, int) for one in (value if several else [value])):
            raise TypeError(f"{found.arch}.{name} is {str(value)[:40]!r}")
        return value

    if found.key("attention.causal") is False:
        return 0  # it reads a text at once
    layers, heads = told("block_count", 0), told("attention.head_count", 1)
    if rank := told("attention.kv_lora_rank", 0):  # compressed, whatever each head has of it
        return int(layers * (2 * rank + told("rope.dimension_count", 0)))
    kv_heads = told("attention.head_count_kv", heads)
    most = max(heads) if isinstance(heads, list) else heads
    width = told("embedding_length", 0) // (most or 1)
    rows = told("attention.key_length", width) + told("attention.value_length", width)
    every = sum(kv_heads) if isinstance(kv_heads, list) else kv_heads * layers
    return int(every * rows)


def _folder_elements(config: dict[str, Any]) -> int:
    """What is no number counts for none: the engine refuses it, and says which."""
    text = config.get("text_config")
    config = text if isinstance(text, dict) and text else config

    def told(name: str) -> int:
        return whole(config.get(name))

    heads = told("num_attention_heads") or 1
    width = told("head_dim") or told("hidden_size") // heads
    return told("num_hidden_layers") * (told("num_key_value_heads") or heads) * width * 2

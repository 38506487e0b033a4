"""Random GGUF files of a few thousand weights, in any architecture that is converted.

The tensors are those that mlx-lm's class has parameters for, by the names that the `gguf` package
has for them; whether order and meaning are right, llama.cpp decides, which runs the same file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from ollmlx.convert.architectures import architecture
from ollmlx.convert.metadata import Metadata
from ollmlx.convert.parameters import class_parameters, spellings
from ollmlx.gguf import Gguf

LAYERS = 4

KEYS: dict[str, Any] = {
    "block_count": LAYERS,
    "context_length": 512,
    "embedding_length": 64,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 10000.0,
}


@dataclass(frozen=True)
class Tiny:
    """An architecture in small: its keys beside `KEYS`, and tensors whose presence tells."""

    arch: str
    keys: Mapping[str, Any]
    present: tuple[str, ...] = ()
    extra: Mapping[str, NDArray[np.float32]] | None = None
    """Tensors that are configuration in MLX."""


@dataclass
class Sketch:
    """As much of a GGUF as its configuration is made of."""

    arch: str
    keys: Mapping[str, Any]
    tensors: dict[str, Any]

    def key(self, name: str, default: Any = None) -> Any:
        return self.keys.get(name, default)


@dataclass(frozen=True)
class Shape:
    shape: tuple[int, ...]
    type: str = "F32"
    data: Any = None


def write_tiny(path: Path, tiny: Tiny, tokenizer: Mapping[str, Any], seed: int = 0) -> None:
    """`tokenizer` is the metadata of a vocabulary, as `Gguf.meta` has it."""
    keys = KEYS | dict(tiny.keys)
    size = len(tokenizer["tokenizer.ggml.tokens"])
    meta = {"general.architecture": tiny.arch, f"{tiny.arch}.vocab_size": size}
    meta |= {f"{tiny.arch}.{name}": value for name, value in keys.items() if value is not None}
    tensors = random_tensors(tiny, keys, size, seed) | dict(tiny.extra or {})
    write_gguf(path, meta | dict(tokenizer), tensors)


def random_tensors(
    tiny: Tiny, keys: Mapping[str, Any], vocabulary: int, seed: int
) -> dict[str, NDArray[np.float32]]:
    flags = {name: Shape((1,)) for name in tiny.present}
    extra = {name: Shape(x.shape, data=x.view(np.uint8)) for name, x in (tiny.extra or {}).items()}
    padding = {f"padding.{number}": Shape((1,)) for number in range(keys["block_count"])}
    embedding = {"token_embd.weight": Shape((vocabulary, keys["embedding_length"]))}
    sketch = Sketch(tiny.arch, keys, embedding | flags | extra | padding)
    config = architecture(tiny.arch).configure(Metadata(sketch))  # type: ignore[arg-type]  # as Gguf
    numbers = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    known = gguf.get_tensor_name_map(numbers[tiny.arch], keys["block_count"])
    generator = np.random.default_rng(seed)
    tensors = {}
    for parameter, each in class_parameters(config).items():
        if config["tie_word_embeddings"] and parameter.endswith("lm_head.weight"):
            continue
        name = _tensor_name(known, parameter)
        tensors[name] = _random(name, _gguf_shape(each.shape), generator)
    return tensors


def _tensor_name(known: Any, parameter: str) -> str:
    for spelling in spellings(parameter):
        if name := known.get_name(spelling, try_suffixes=(".weight", ".bias")):
            return str(name) if name.endswith((".weight", ".bias", "ssm_a")) else f"{name}.weight"
    raise AssertionError(f"gguf has no name for {parameter}")


def _gguf_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Convolutions of one channel have no dimension for it."""
    return shape[:-1] if len(shape) == 3 and shape[-1] == 1 else shape


def _random(
    name: str, shape: tuple[int, ...], generator: np.random.Generator
) -> NDArray[np.float32]:
    values = generator.standard_normal(shape).astype(np.float32)
    if name.endswith("ssm_a"):
        return -np.exp(0.3 * values)
    if "norm" in name or name.endswith("scale.weight"):
        return 0.1 * values + (0 if name.endswith("bias") else 1)
    if len(shape) == 1 or name.endswith(".bias"):
        return 0.1 * values
    return values if name == "token_embd.weight" else values * (1.2 / math.sqrt(shape[-1]))


def contents(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Metadata and F32 tensors, to be written again with a change."""
    gguf = Gguf(path)
    tensors = {name: t.data.view(np.float32) for name, t in gguf.tensors.items()}
    return dict(gguf.meta), tensors


def write_gguf(
    path: Path,
    meta: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    types: Mapping[str, str] | None = None,
) -> None:
    """`types` names the block type of the tensors that are bytes already."""
    writer = gguf.GGUFWriter(path, meta["general.architecture"])
    for name, value in meta.items():
        if name != "general.architecture":
            _add(writer, name, value)
    for name, array in tensors.items():
        kind = (types or {}).get(name)
        raw = gguf.GGMLQuantizationType[kind] if kind else None
        writer.add_tensor(name, np.ascontiguousarray(array), raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(name, value)
        case str():
            writer.add_string(name, value)
        case int() if name in ("split.no", "split.count"):
            writer.add_uint16(name, value)
        case int() if name == "split.tensors.count":
            writer.add_int32(name, value)
        case int():
            writer.add_uint32(name, value)
        case float():
            writer.add_float32(name, value)
        case _:
            writer.add_array(name, value)

"""The conversion itself: a GGUF in, a folder that mlx-lm loads out."""

import json
import time
from pathlib import Path
from typing import Any

from ollmlx.convert import Conversion, Report, tokenizer
from ollmlx.convert.architectures import Architecture, architecture
from ollmlx.convert.blocks import FORMS
from ollmlx.convert.decoder import Config
from ollmlx.convert.metadata import Metadata
from ollmlx.convert.parameters import class_parameters, match
from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.shards import Shards
from ollmlx.convert.stops import stop_ids
from ollmlx.convert.vocabulary import Vocabulary
from ollmlx.convert.weights import Weights, quantisation, stored_bytes
from ollmlx.engine.llama.published.text import view as text_view
from ollmlx.gguf import Gguf
from ollmlx.store.appearing import appearing
from ollmlx.store.ollama.blobs import check_room

DTYPES = ("float16", "bfloat16", "float32")

SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}
"""Defaults below `general.sampling.`, with Hugging Face's names."""


def convert_gguf(
    source: Path, target: Path, report: Report, dtype: str, replace: bool
) -> Conversion:
    began = time.monotonic()
    gguf = _open(source)
    kind = architecture(gguf.arch)
    dtype = _dtype(gguf, kind, dtype)
    config = kind.configure(Metadata(gguf))
    with appearing(target, replace) as folder:
        _check_space(gguf, folder, dtype)
        report("tokenizer", 0.0)
        config |= _write_tokenizer(gguf, config, folder)
        weights = Weights(kind, config, dtype, Shards(folder))
        _write_weights(gguf, weights, report)
        _write_config(weights, folder)
        report("saving", 1.0)
    return Conversion(
        architecture=gguf.arch,
        dtype=dtype,
        arrays=weights.shards.arrays,
        bytes=weights.shards.total_bytes,
        seconds=time.monotonic() - began,
        requantised=weights.requantised,
    )


def _open(source: Path) -> Gguf:
    if not source.is_file():
        raise NotConvertible(f"{source} is not a GGUF file")
    gguf = Gguf(source)
    if (parts := gguf.meta.get("split.count", 1)) != 1:
        raise NotConvertible(f"{source} is one of {parts} parts: join them with llama-gguf-split")
    if text_view(str(source)):
        raise NotConvertible(
            f"{source} has the form of Ollama's library, which differs for {gguf.arch!r}: convert a"
            " GGUF or the safetensors from Hugging Face, hf.co/organisation/repository"
        )
    return gguf


def _dtype(gguf: Gguf, kind: Architecture, wanted: str) -> str:
    """`auto` keeps bfloat16's range where it is needed, and else float16's precision."""
    if wanted in DTYPES:
        return wanted
    if wanted != "auto":
        raise NotConvertible(f"dtype {wanted!r} is none of auto, {', '.join(DTYPES)}")
    types = {tensor.type for tensor in gguf.tensors.values()}
    # The scales of packed blocks are float16 and would be rounded.
    return "bfloat16" if "BF16" in types and types.isdisjoint(FORMS) else kind.dtype


def _check_space(gguf: Gguf, folder: Path, dtype: str) -> None:
    width = 4 if dtype == "float32" else 2
    check_room(folder, sum(stored_bytes(tensor, width) for tensor in gguf.tensors.values()))


def _write_weights(gguf: Gguf, weights: Weights, report: Report) -> None:
    parameters = class_parameters(weights.config)
    layers = Metadata(gguf).layers
    tensors = match(gguf.arch, weights.config, layers, parameters, gguf.tensors)
    whole = sum(gguf.tensors[name].data.nbytes for name in tensors.values())
    done = 0
    for parameter, name in tensors.items():
        tensor = gguf.tensors[name]
        weights.add(parameter, tensor, parameters[parameter])
        done += tensor.data.nbytes
        report("weights", done / whole)
    weights.shards.close()


def _write_tokenizer(gguf: Gguf, config: Config, folder: Path) -> Config:
    """Everything about text; the token ids that the configuration holds too."""
    vocabulary = Vocabulary(gguf.meta)
    if len(vocabulary.tokens) > config["vocab_size"]:
        size = len(vocabulary.tokens)
        raise NotConvertible(f"{size} tokens do not fit {config['vocab_size']} embeddings")
    # Its own `save` tells a full disk as an Exception like any other.
    text = tokenizer.build(vocabulary).to_str(pretty=True)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    context = config["max_position_embeddings"]
    _write_json(folder / "tokenizer_config.json", tokenizer.settings(vocabulary, context))
    if isinstance(template := gguf.meta.get("tokenizer.chat_template"), str):
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    ids = _token_ids(vocabulary)
    _write_json(folder / "generation_config.json", ids | _sampling(gguf.meta))
    return ids


def _token_ids(vocabulary: Vocabulary) -> Config:
    ids: Config = {"eos_token_id": stop_ids(vocabulary)}
    named = {"bos_token_id": "bos", "pad_token_id": "padding"}
    found = {name: vocabulary.token_id(role) for name, role in named.items()}
    return ids | {name: number for name, number in found.items() if number is not None}


def _sampling(meta: dict[str, Any]) -> Config:
    """What the file recommends, if it does."""
    values = {name: meta.get(f"general.sampling.{key}") for key, name in SAMPLING.items()}
    given = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return {"do_sample": True, **given} if given else {}


def _write_config(weights: Weights, folder: Path) -> None:
    """Written last: without it the folder is no model."""
    config = weights.config | {"torch_dtype": weights.dtype}
    if weights.quantised:
        config["quantization"] = quantisation(weights.quantised)
    _write_json(folder / "config.json", config)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")

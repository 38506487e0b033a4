"""A folder of MLX or Hugging Face weights as a GGUF file, for the plainest families.

mlx-lm's own export writes every vocabulary as sentencepiece without scores; this one writes the
byte-level BPE vocabularies that these families have, and refuses the others.
"""

import math
from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.utils import dequantize_model
from tokenizers import Tokenizer

from ollmlx.convert import Report
from ollmlx.convert.architectures import tensor_names
from ollmlx.convert.decoder import Config, llama3_divisors
from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.tokenizer import pretokenizers
from ollmlx.convert.transforms import QUERY_OR_KEY, interleaved
from ollmlx.convert.vocabulary import CONTROL, NORMAL, USER_DEFINED
from ollmlx.engine.mlx.folder import REFUSALS, lazy_model, read_config
from ollmlx.store.appearing import TargetInTheWay
from ollmlx.store.documents import read_object
from ollmlx.store.ollama.blobs import CannotStore, flush
from ollmlx.store.weights import folder_template, readers

FAMILIES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""Hugging Face's `model_type` → GGUF's architecture."""
UNUSED = 5
_FILE_TYPES = {mx.float32: 0, mx.float16: 1, mx.bfloat16: 32}


def export(source: Path, target: Path, report: Report, replace: bool = False) -> None:
    """Write `target` whole or not at all, numbers in the type they have.

    Packed weights are unpacked.  Raises `NotConvertible`, `TargetInTheWay`, `CannotStore`.
    """
    if target.exists() and not replace:
        raise TargetInTheWay(f"{target} exists already")
    config = read_config(source)
    family = FAMILIES.get(config["model_type"])
    if family is None:
        known = ", ".join(FAMILIES)
        raise NotConvertible(
            f"{config['model_type']!r} cannot be converted to GGUF; supported are {known}"
        )
    try:
        model = dequantize_model(lazy_model(source, config)[0])
    except REFUSALS as error:
        raise NotConvertible(f"unable to load {source}: {error}") from error
    filling = target.with_name(f".{target.name}.converting")
    try:
        _write(filling, source, family, config, model, report)
        flush(filling)
        filling.replace(target)
    except OSError as error:
        raise CannotStore(f"{target} cannot be written: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise NotConvertible(f"{source} is damaged: {error!r}") from error
    finally:
        filling.unlink(missing_ok=True)
    report("saving", 1.0)


def _write(
    path: Path, source: Path, family: str, config: Config, model: nn.Module, report: Report
) -> None:
    weights = dict(tree_flatten(model.parameters()))
    writer = gguf.GGUFWriter(path, family, use_temp_file=True)
    _describe(writer, source, config)
    writer.add_file_type(_FILE_TYPES.get(weights["model.embed_tokens.weight"].dtype, 1))
    report("tokenizer", 0.0)
    _write_vocabulary(writer, source, config, weights["model.embed_tokens.weight"].shape[0])
    _write_tensors(writer, family, config, weights, report)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, source: Path, config: Config) -> None:
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_name(source.name)
    writer.add_context_length(config.get("max_position_embeddings", 2048))
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_layer_norm_rms_eps(config.get("rms_norm_eps", 1e-6))
    writer.add_rope_freq_base(_rope(config).get("rope_theta", 10000.0))
    writer.add_vocab_size(config["vocab_size"])
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        if config["model_type"] != "mistral":
            raise NotConvertible("a sliding window cannot be converted to GGUF")
        writer.add_sliding_window(config["sliding_window"])


def _rope(config: Config) -> dict[str, Any]:
    """Base and scaling, wherever this configuration has them."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return {**scaling, "rope_theta": scaling.get("rope_theta") or config.get("rope_theta", 1e4)}


# -- tensors --------------------------------------------------------------------------------------


def _write_tensors(
    writer: gguf.GGUFWriter, family: str, config: Config, weights: dict[str, Any], report: Report
) -> None:
    names = tensor_names(family, config["num_hidden_layers"])
    if (divisors := _divisors(config)) is not None:
        writer.add_tensor("rope_freqs.weight", divisors)
    for done, name in enumerate(sorted(weights), 1):
        spelled = names.get_name(name, (".weight", ".bias"))
        if spelled is None:
            raise NotConvertible(f"{family} has no place for {name}")
        _add(writer, spelled, _neighbours(family, config, spelled, weights.pop(name)))
        report("weights", done / (done + len(weights)))


def _add(writer: gguf.GGUFWriter, name: str, array: mx.array) -> None:
    if array.ndim == 1:
        writer.add_tensor(name, np.array(array.astype(mx.float32)))
    elif array.dtype == mx.bfloat16:
        kind = gguf.GGMLQuantizationType.BF16
        rows = gguf.quants.quantize(np.array(array.astype(mx.float32)), kind)
        writer.add_tensor(name, rows, raw_dtype=kind)
    else:
        writer.add_tensor(name, np.array(array))


def _neighbours(family: str, config: Config, name: str, array: mx.array) -> mx.array:
    """Queries and keys: MLX turns the two halves of a head, llama.cpp neighbouring rows of it."""
    found = QUERY_OR_KEY.match(name)
    if family != "llama" or not found:
        return array
    heads = config["num_attention_heads"]
    if found[1] == "k":
        heads = config.get("num_key_value_heads") or heads
    turned: mx.array = interleaved(array, heads)
    return turned


def _divisors(config: Config) -> Any:
    """Llama 3's scaling of positions as a tensor; None without any scaling."""
    rope = _rope(config)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind != "llama3" or (rope.get("low_freq_factor"), rope.get("high_freq_factor")) != (1, 4):
        raise NotConvertible(f"rotary scaling {kind!r} cannot be converted to GGUF")
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    powers = np.arange(0, head, 2, dtype=np.float64) / head
    waves = 2 * math.pi * rope["rope_theta"] ** powers
    original = rope["original_max_position_embeddings"]
    return llama3_divisors(waves, rope["factor"], original).astype(np.float32)


# -- vocabulary -----------------------------------------------------------------------------------


def _write_vocabulary(writer: gguf.GGUFWriter, source: Path, config: Config, rows: int) -> None:
    path = source / "tokenizer.json"
    if not path.is_file():
        raise NotConvertible(f"{source} has no tokenizer.json")
    document = read_object(path)
    tokenizer = Tokenizer.from_file(str(path))
    tokens, types = _tokens(document, rows)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre(document))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    merges = document["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    _write_special(writer, source, config, tokenizer)
    if template := folder_template(source, readers()):
        writer.add_chat_template(template)


def _tokens(document: dict[str, Any], rows: int) -> tuple[list[str], list[int]]:
    found = dict(document["model"]["vocab"])
    kinds = {}
    for added in document.get("added_tokens", ()):
        found[added["content"]] = added["id"]
        kinds[added["content"]] = CONTROL if added["special"] else USER_DEFINED
    by_id = {number: token for token, number in found.items()}
    if len(by_id) != len(found) or max(by_id) >= rows:
        raise NotConvertible(f"{len(found)} tokens do not fit {rows} embeddings")
    tokens = [by_id.get(number, f"[PAD{number}]") for number in range(rows)]
    types = [kinds.get(token, NORMAL if n in by_id else UNUSED) for n, token in enumerate(tokens)]
    return tokens, types


def _pre(document: dict[str, Any]) -> str:
    """The name llama.cpp has for how this tokenizer cuts text into words."""
    if document["model"].get("type") != "BPE" or document["model"].get("byte_fallback"):
        raise NotConvertible("only byte-level BPE vocabularies can be converted to GGUF")
    splits = tuple(_splits(document.get("pre_tokenizer") or {}))
    merges = bool(document["model"].get("ignore_merges"))
    for name, known in pretokenizers().items():
        if known.splits == splits and known.ignore_merges == merges:
            return name
    raise NotConvertible("llama.cpp has no name for the pre-tokenizer of this model")


def _splits(part: dict[str, Any]) -> list[str]:
    """The expressions that cut text, one after the other."""
    match part.get("type"):
        case "Sequence":
            return [split for one in part["pretokenizers"] for split in _splits(one)]
        case "Split" if part["behavior"] == "Isolated" and "Regex" in part["pattern"]:
            return [part["pattern"]["Regex"]]
        case "Digits" if part["individual_digits"]:
            return [r"\p{N}"]
        case "ByteLevel" if not part["add_prefix_space"]:
            return [pretokenizers()["gpt-2"].splits[-1]] if part["use_regex"] else []
    raise NotConvertible("llama.cpp has no name for the pre-tokenizer of this model")


def _write_special(
    writer: gguf.GGUFWriter, source: Path, config: Config, tokenizer: Tokenizer
) -> None:
    settings = source / "tokenizer_config.json"
    named = read_object(settings) if settings.is_file() else {}
    roles = {"bos": writer.add_bos_token_id, "eos": writer.add_eos_token_id}
    found = {}
    for role, add in (roles | {"pad": writer.add_pad_token_id}).items():
        token = named.get(f"{role}_token")
        token = token.get("content") if isinstance(token, dict) else token
        number = tokenizer.token_to_id(token) if token else config.get(f"{role}_token_id")
        number = number[0] if isinstance(number, list) and number else number
        if isinstance(number, int):
            found[role] = number
            add(number)
    writer.add_add_bos_token(tokenizer.encode("a").ids[:1] == [found.get("bos")])

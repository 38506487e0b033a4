"""The parameters of an MLX class, and which GGUF tensor each is; none is left over."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mlx.utils import tree_flatten

from ollmlx.convert.architectures import tensor_names
from ollmlx.convert.decoder import Config
from ollmlx.convert.refusals import NotConvertible

IN_CONFIGURATION = re.compile(r"^(rope_freqs|rope_factors_(long|short))\.weight$|attn_rot_embd")
"""Tensors that became configuration, or (`attn_rot_embd`) follow from it."""

SUFFIXES = (".weight", ".bias")

OUTPUT, EMBEDDING = "lm_head.weight", "token_embd.weight"

MIXTRAL = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


def spellings(parameter: str) -> Iterator[str]:
    """Names that Hugging Face's classes gave an mlx-lm parameter, the likeliest first."""
    yield parameter
    yield parameter.replace(".switch_mlp.", ".experts.")
    yield re.sub(
        r"(block_sparse_moe)\.switch_mlp\.(gate|down|up)_proj",
        lambda found: f"{found[1]}.experts.{MIXTRAL[found[2] + '_proj']}",
        parameter,
    )
    inner = parameter.replace("language_model.", "")
    yield inner
    yield inner.replace(".switch_mlp.", ".experts.")
    yield inner.replace("dt_bias", "dt_proj.bias")
    yield parameter.replace("block_sparse_moe.router.layer", "block_sparse_moe.router")


@dataclass(frozen=True)
class Parameter:
    shape: tuple[int, ...]
    packs: bool
    """Whether its module has a quantised form."""


def class_parameters(config: Config) -> dict[str, Parameter]:
    """The parameters of mlx-lm's class for a configuration; nothing is computed for them."""
    module = import_module(f"mlx_lm.models.{config['model_type']}")
    try:
        arguments = module.ModelArgs.from_dict(config)
        model = module.Model(arguments)
    except (TypeError, ValueError, ArithmeticError, LookupError, AssertionError) as error:
        raise NotConvertible(f"MLX refuses this model's configuration: {error}") from error
    if config.get("rope_scaling") and not hasattr(arguments, "rope_scaling"):
        raise NotConvertible("MLX's class for this architecture has no rotary scaling")
    packing = {name for name, each in model.named_modules() if hasattr(each, "to_quantized")}
    return {
        name: Parameter(tuple(array.shape), name.removesuffix(".weight") in packing)
        for name, array in _needed(model, tied=config["tie_word_embeddings"]).items()
    }


def _needed(model: Any, tied: bool) -> dict[str, Any]:
    """The parameters that a file must have: some classes drop their output matrix without one."""
    parameters = dict(tree_flatten(model.parameters()))
    if tied and hasattr(model, "sanitize"):
        model.sanitize({name: x for name, x in parameters.items() if not name.endswith(OUTPUT)})
        return dict(tree_flatten(model.parameters()))
    return parameters


def match(
    architecture: str,
    config: Config,
    layers: int,
    parameters: Iterable[str],
    tensors: Iterable[str],
) -> dict[str, str]:
    """The tensor of each parameter; `layers` is the file's count, which may exceed MLX's.

    Raises `NotConvertible` when a parameter has no tensor, or a tensor no parameter.
    """
    known = tensor_names(architecture, layers)
    present = set(tensors)
    found = {each: _tensor(known, each, present) for each in parameters}
    for each in found:
        if config["tie_word_embeddings"] and each.endswith(OUTPUT):
            found[each] = EMBEDDING  # A class that cannot share them has them twice.
    if missing := [each for each, tensor in found.items() if tensor is None]:
        raise NotConvertible(f"the file has no tensor for {_few(missing)}")
    matched = {each: tensor for each, tensor in found.items() if tensor is not None}
    extra = range(config["num_hidden_layers"], layers)
    _complete(matched, {each for each in present if _layer(each) not in extra})
    return matched


def _layer(tensor: str) -> int | None:
    found = re.match(r"blk\.(\d+)\.", tensor)
    return int(found[1]) if found else None


def _tensor(known: Any, parameter: str, present: Container[str]) -> str | None:
    for spelling in spellings(parameter):
        name = known.get_name(spelling, try_suffixes=SUFFIXES)
        if name in present:
            return str(name)
        # Parameters without a suffix of their own, such as attention sinks.
        if name and not name.endswith(SUFFIXES) and f"{name}.weight" in present:
            return f"{name}.weight"
    return None


def _complete(matched: dict[str, str], present: set[str]) -> None:
    used = Counter(matched.values())
    used[EMBEDDING] = min(used[EMBEDDING], 1)
    if twice := sorted(tensor for tensor, times in used.items() if times > 1):
        raise NotConvertible(f"two parameters want {_few(twice)}")
    unused = sorted(each for each in present - set(used) if not IN_CONFIGURATION.search(each))
    if unused:
        raise NotConvertible(f"MLX's class has no parameter for {_few(unused)}")


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"

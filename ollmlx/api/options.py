"""`options` of a request, over those of its model, over Ollama's defaults → what the engine
understands.
"""

import logging
import sys
from typing import Any
from urllib.parse import quote

from msgspec import structs

from ollmlx.api.answers import note
from ollmlx.engine import fit
from ollmlx.engine.jobs import LoadOptions, Sampling
from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.settings import Settings
from ollmlx.store.model import Model
from ollmlx.wire.options import OPTIONS

_log = logging.getLogger(__name__)
MIN_CONTEXT = 4
MIN_CONTEXT_SEEING = 2048
# Without a limit of its own a generation may fill its window this often: Ollama's guard against a
# model that never ends.
WINDOWS = 10


def merge(model: Model, request: dict[str, Any]) -> dict[str, Any]:
    """Options by key, the request's over the model's.  Raises the error that Ollama gives for a
    wrong type; a name that no option has is ignored as there, and told.
    """
    # Quoted and cut: a key may be anything, a header and a line of the log may not.
    if unknown := [quote(name)[:40] for name in request if name not in OPTIONS][:10]:
        _log.warning("options that nothing knows are ignored: %s", ", ".join(unknown))
        note("Ollmlx-Ignored", ", ".join(f"options.{name}" for name in unknown))
    merged = dict(model.parameters)
    merged.update({name: value for name, value in request.items() if value is not None})
    return {name: _checked(name, value) for name, value in merged.items() if name in OPTIONS}


def _checked(name: str, value: Any) -> Any:
    kind = OPTIONS[name]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "integer" and number:
        return max(-(2**63), min(int(value), 2**63 - 1))
    if kind == "float32" and number and not abs(value) > sys.float_info.max:
        return float(value)
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "array" and isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return value
        kind = "an array of strings"
        raise OllmlxError(f'option "{name}" must be of {kind}')
    if kind == "object" and isinstance(value, dict):
        return dict(_bias(token, amount) for token, amount in value.items())
    raise OllmlxError(f'option "{name}" must be of type {kind}')


def _bias(token: Any, amount: Any) -> tuple[int, float]:
    """One entry of `logit_bias`; JSON has token ids as texts, Modelfiles of our own as numbers."""
    known = isinstance(token, int) or (
        isinstance(token, str) and token.isascii() and token.isdigit()
    )
    number = isinstance(amount, (int, float)) and not isinstance(amount, bool)
    if not known or len(str(token)) > 9 or not number or not abs(amount) < 1e30:
        raise BadRequest('option "logit_bias" must give token ids their biases, which are numbers')
    return int(token), float(amount)


def sampling(options: dict[str, Any]) -> Sampling:
    return Sampling(**{n: options[n] for n in Sampling.__struct_fields__ if n in options})


def load_options(
    options: dict[str, Any], model: Model, settings: Settings
) -> tuple[LoadOptions, frozenset[str]]:
    """How to load the model, and which of those options nobody asked for."""
    named = {n: options[n] for n in LoadOptions.__struct_fields__ if n in options}
    default = settings.context_length or fit.default_context(model.format)
    least = MIN_CONTEXT_SEEING if model.projectors or model.one_file else MIN_CONTEXT
    context = max(least, int(named.get("num_ctx", default)))
    if trained := model.details.context_length:
        context = min(context, trained)
    automatic = frozenset({"num_ctx", "num_batch"} - named.keys())
    base = LoadOptions(
        num_parallel=settings.num_parallel,
        kv_cache_type=settings.kv_cache_type,
        flash_attention=settings.flash_attention,
        adapters=model.adapters,
        projector=next(iter(model.projectors), ""),
    )
    if "embedding" in model.capabilities and "completion" not in model.capabilities:
        base = structs.replace(base, num_parallel=1)
    batch = max(1, int(named.get("num_batch", base.num_batch)))
    return structs.replace(base, **{**named, "num_ctx": context, "num_batch": batch}), automatic


def max_tokens(options: dict[str, Any], num_ctx: int, shift: bool) -> int:
    """Tokens to generate at most.  0 is none, negative as many as a model may that never ends by
    itself.
    """
    limit = num_ctx * (WINDOWS if shift else 1)
    wanted = int(options.get("num_predict", -1))
    return limit if wanted < 0 else min(wanted, limit)

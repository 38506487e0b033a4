"""A GGUF rewritten by llama.cpp: quantised, joined from parts, or copied to prove that it loads.

Runs as a process: `python -m ollmlx.convert.quantise_gguf SOURCE TARGET TYPE`, where TYPE is a
name of `store.details.FILE_TYPES`, or COPY.
"""

import ctypes
import re

from llama_cpp import llama_cpp as llama

from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.subprocesses import child, tell
from ollmlx.gguf import header
from ollmlx.store.details import FILE_TYPES

COPY = "COPY"
_STEP = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")
_ERROR = 4

_SENSITIVE = {
    "qwen35": ((r"^blk\.[0-9]+\.nextn\.eh_proj\.weight$", "Q8_0"),),
    "gemma3n": ((r"^per_layer_token_embd\.weight$", "F16"),),
    "deepseek2": ((r"attn_(k_b|q_a|q_b|v_b|kv_a_mqa)\.weight$", "Q8_0"),),
    "glm4": ((r"^token_embd\.weight$", "F16"), (r"^output\.weight$", "F16")),
}
"""Tensors of an architecture that lose too much below the type given, as Ollama keeps them."""
_SENSITIVE["qwen35moe"] = _SENSITIVE["qwen35"]
_BELOW = ("Q4_K_S", "Q4_K_M")
_GGML_TYPES = {"F16": llama.GGML_TYPE_F16, "Q8_0": llama.GGML_TYPE_Q8_0}


def rewrite(source: str, target: str, kind: str) -> None:
    """Raises `NotConvertible` with what llama.cpp says."""
    errors: list[str] = []

    def hear(level: int, text: bytes, _: object) -> None:
        line = text.decode("utf-8", "replace")
        if found := _STEP.match(line):
            tell(done=int(found[1]), of=int(found[2]))
        elif level == _ERROR:
            errors.append(line.strip())

    # ctypes keeps no reference: the callback must live as long as llama.cpp may call it.
    callback = llama.llama_log_callback(hear)
    llama.llama_log_set(callback, ctypes.c_void_p(0))
    parameters = _parameters(kind)
    overrides = _overrides(source, kind)
    if overrides:
        parameters.tt_overrides = overrides
    failed = llama.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters))
    if failed:
        raise NotConvertible("; ".join(errors[-3:]) or f"llama.cpp refuses to write {kind}")


def _parameters(kind: str) -> llama.llama_model_quantize_params:
    parameters = llama.llama_model_quantize_default_params()
    parameters.allow_requantize = True
    if kind == COPY:
        parameters.only_copy = True
    else:
        parameters.ftype = {name: number for number, name in FILE_TYPES.items()}[kind]
    return parameters


def _overrides(source: str, kind: str) -> object:
    """A C array that ends with an empty pattern; None when nothing needs it."""
    patterns = _SENSITIVE.get(header(source).arch, ()) if kind in _BELOW else ()
    if not patterns:
        return None
    entry = llama.llama_model_tensor_override
    array = (entry * (len(patterns) + 1))()
    for at, (pattern, type_) in enumerate(patterns):
        array[at].pattern = pattern.encode()
        array[at].type = _GGML_TYPES[type_]
    return array


if __name__ == "__main__":
    child(lambda arguments: rewrite(*arguments))

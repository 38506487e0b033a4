"""An adapter of PEFT's as a GGUF, for a GGUF model.

Runs as a process: `python -m ollmlx.convert.adapter_gguf ADAPTER TARGET MODEL`.
Source: `convert_lora_to_gguf.py` of llama.cpp.
"""

from pathlib import Path

import gguf
import numpy as np

from ollmlx.convert import peft
from ollmlx.convert.architectures import architecture, tensor_names
from ollmlx.convert.blocks import Floats
from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.subprocesses import child
from ollmlx.convert.transforms import grouped_heads, halved, interleaved
from ollmlx.gguf import Header, header


def convert(source: Path, target: Path, model: Path) -> None:
    """Raises `NotConvertible`, `UnsupportedArchitecture`, `BadGguf`, `BadDocument` or `OSError`."""
    found, adapter = header(model), peft.read(source)
    if adapter.dora:
        raise NotConvertible("an adapter with use_dora cannot be converted to GGUF")
    if grouped_heads in architecture(found.arch).transforms:
        raise NotConvertible(f"adapters of {found.arch} cannot be converted to GGUF")
    writer = gguf.GGUFWriter(target, found.arch)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, adapter.alpha)
    names = tensor_names(found.arch, int(found.key("block_count", 0)))
    for told in adapter.modules():
        name = names.get_name(f"{told.module}.weight", (".weight",))
        if name is None:
            raise NotConvertible(f"{found.arch} has no place for {told.module}")
        writer.add_tensor(f"{name}.lora_a", np.ascontiguousarray(told.a))
        writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(_turned(found, name, told.b)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _turned(found: Header, name: str, rows: Floats) -> Floats:
    """Queries and keys as llama.cpp has them."""
    kind = name.removesuffix(".weight").rpartition(".")[2]
    if kind not in ("attn_q", "attn_k") or halved not in architecture(found.arch).transforms:
        return rows
    heads = found.key("attention.head_count")
    heads = heads if kind == "attn_q" else found.key("attention.head_count_kv", heads)
    if not isinstance(heads, int) or heads < 1 or len(rows) % (2 * heads):
        raise NotConvertible(f"the adapter of {name} does not fit {heads} heads")
    turned: Floats = interleaved(rows, heads)
    return turned


if __name__ == "__main__":
    child(lambda arguments: convert(*map(Path, arguments)))

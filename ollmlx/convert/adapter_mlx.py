"""An adapter of PEFT's in mlx-lm's form; and any adapter tried on the model it is for.

Runs as a process: `python -m ollmlx.convert.adapter_mlx ADAPTER TARGET MODEL`.
"""

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_adapters

from ollmlx.convert import peft
from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.subprocesses import child
from ollmlx.engine.mlx.folder import REFUSALS, lazy_whole, read_config
from ollmlx.store.changes import link
from ollmlx.store.documents import read_object

WEIGHTS = "adapters.safetensors"


def convert(source: Path, target: Path, model: Path) -> None:
    """Raises `NotConvertible`, `BadDocument` or `OSError`."""
    target.mkdir()
    if "lora_parameters" in read_object(source / peft.CONFIG):
        for name in (peft.CONFIG, WEIGHTS):
            link(source / name, target / name)
    else:
        _from_peft(peft.read(source), target)
    try:
        load_adapters(lazy_whole(model, read_config(model))[0], str(target))
    except REFUSALS as error:
        raise NotConvertible(f"the adapter does not fit the model: {error}") from error


def _from_peft(adapter: peft.Peft, target: Path) -> None:
    arrays, keys = {}, set()
    for told in adapter.modules():
        keys.add(peft.in_layer(told.module))
        arrays[f"{told.module}.lora_a"] = mx.array(np.ascontiguousarray(told.a.T))
        arrays[f"{told.module}.lora_b"] = mx.array(np.ascontiguousarray(told.b.T))
        if told.magnitude is not None:
            arrays[f"{told.module}.m"] = mx.array(told.magnitude)
    mx.save_safetensors(str(target / WEIGHTS), arrays)
    parameters = {
        "rank": adapter.rank,
        "scale": adapter.scale,
        "dropout": 0.0,
        "keys": sorted(keys),
    }
    # mlx-lm counts layers from the end, and takes 0 for all of them.
    kind = "dora" if adapter.dora else "lora"
    config = {"fine_tune_type": kind, "num_layers": 0, "lora_parameters": parameters}
    (target / peft.CONFIG).write_text(json.dumps(config, indent=1))


if __name__ == "__main__":
    child(lambda arguments: convert(*map(Path, arguments)))

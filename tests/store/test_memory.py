"""What a model needs of memory beside its weights."""

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ollmlx.errors import LoadFailed
from ollmlx.settings import Settings
from ollmlx.store.library import Library
from ollmlx.store.memory import Needs, needs
from tests.convert.tiny import write_gguf


def test_both_formats_of_one_model_need_the_same_cache(toy, tmp_path):
    library = Library(Settings(models=tmp_path))
    gguf, mlx = (library.find(str(path)) for path in (toy.gguf, toy.mlx))
    assert needs(gguf, "f16").cache_per_token == needs(mlx, "f16").cache_per_token > 0
    assert needs(gguf, "q8_0").cache_per_token == needs(gguf, "f16").cache_per_token * 17 // 32
    assert (needs(gguf, "f16").layers, needs(mlx, "f16").layers) == (3, 0)


def test_an_embedder_keeps_no_cache_unless_it_reads_forwards(toy_bert, tmp_path):
    model = Library(Settings(models=tmp_path)).find(str(toy_bert))
    assert needs(model, "f16") == Needs(0, 3)
    sizes = {"block_count": 2, "embedding_length": 64, "attention.head_count": 4, "pooling_type": 3}
    meta = {"general.architecture": "qwen3"} | {f"qwen3.{k}": v for k, v in sizes.items()}
    write_gguf(path := tmp_path / "m.gguf", meta, {"output.weight": np.zeros((2, 2), np.float32)})
    assert needs(Library(Settings(models=tmp_path)).find(str(path)), "f16").cache_per_token == 512


def test_compressed_attention_needs_the_same_cache_however_a_file_tells_it(tmp_path):
    sizes = {"block_count": 2, "attention.kv_lora_rank": 512, "rope.dimension_count": 64}
    forms = {
        "deepseek2": {"head_count_kv": 1, "key_length": 576, "value_length": 512},
        "glm4moelite": {"head_count_kv": 20, "key_length": 256, "value_length": 256},
    }
    library, needed = Library(Settings(models=tmp_path)), set()
    for arch, attention in forms.items():
        keys = sizes | {f"attention.{name}": value for name, value in attention.items()}
        meta = {"general.architecture": arch} | {f"{arch}.{k}": v for k, v in keys.items()}
        path = tmp_path / f"{arch}.gguf"
        write_gguf(path, meta, {"output.weight": np.zeros((2, 2), np.float32)})
        needed.add(needs(library.find(str(path)), "f16").cache_per_token)
    assert needed == {2 * (576 + 512) * 2}


@pytest.mark.parametrize("lie", ["x", [1, 2], float("nan")])
def test_a_file_that_lies_about_its_numbers_is_refused(tmp_path, lie):
    meta = {"general.architecture": "llama", "llama.attention.kv_lora_rank": 4}
    meta["llama.block_count"] = lie
    write_gguf(path := tmp_path / "m.gguf", meta, {"output.weight": np.zeros((2, 2), np.float32)})
    model = Library(Settings(models=tmp_path)).find(str(path))
    with pytest.raises(LoadFailed, match=r"cannot tell.*llama\.block_count"):
        needs(model, "f16")


@pytest.mark.parametrize("name", ["num_hidden_layers", "head_dim", "text_config"])
def test_a_folder_that_lies_is_left_to_the_engine_to_refuse(toy, tmp_path, name):
    folder = Path(shutil.copytree(toy.mlx, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {name: "x"}))
    needs(Library(Settings(models=tmp_path)).find(str(folder)), "f16")


def test_layers_by_the_thousand_million_are_reckoned_and_not_listed(tmp_path):
    meta = {"general.architecture": "llama", "llama.block_count": 2**31, "llama.head": 1}
    write_gguf(path := tmp_path / "m.gguf", meta, {"output.weight": np.zeros((2, 2), np.float32)})
    model = Library(Settings(models=tmp_path)).find(str(path))
    tracemalloc.start()
    assert needs(model, "f16").layers == 2**31 + 1
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()

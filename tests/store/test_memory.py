"""What a model needs of memory beside its weights."""

from ollmlx.settings import Settings
from ollmlx.store.library import Library
from ollmlx.store.memory import Needs, needs


def test_both_formats_of_one_model_need_the_same_cache(toy, tmp_path):
    library = Library(Settings(models=tmp_path))
    gguf, mlx = (library.find(str(path)) for path in (toy.gguf, toy.mlx))
    assert needs(gguf, "f16").cache_per_token == needs(mlx, "f16").cache_per_token > 0
    assert needs(gguf, "q8_0").cache_per_token == needs(gguf, "f16").cache_per_token * 17 // 32
    assert (needs(gguf, "f16").layers, needs(mlx, "f16").layers) == (3, 0)


def test_an_embedder_keeps_no_cache(toy_bert, tmp_path):
    model = Library(Settings(models=tmp_path)).find(str(toy_bert))
    assert needs(model, "f16") == Needs(0, 3)

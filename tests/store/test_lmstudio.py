"""Models in LM Studio's folder, which others put there."""

import json
from pathlib import Path

import pytest

from ollmlx.store.places.lmstudio import models_folder
from tests.store.shelf import write_gguf, write_mlx, write_safetensors

GEMMA = "lmstudio-community/Gemma-GGUF"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "studio"


def test_ggufs_are_models_by_their_quantisation_with_what_they_see_through(library, folder) -> None:
    for quantisation in ("Q4_K_M", "Q8_0"):
        write_gguf(folder / GEMMA / f"gemma-{quantisation}.gguf")
    write_gguf(folder / GEMMA / "mmproj-gemma-F16.gguf", "clip", general__type="mmproj")
    names = [f"hf.co/{GEMMA}:{quantisation}" for quantisation in ("Q4_K_M", "Q8_0")]
    assert sorted(model.name for model in library.list()) == names
    found = library.find(f"{GEMMA.upper()}:q8_0")
    assert Path(found.path) == folder / GEMMA / "gemma-Q8_0.gguf"
    assert [Path(path).name for path in found.projectors] == ["mmproj-gemma-F16.gguf"]
    assert found.source == "lmstudio"
    assert Path(library.find(f"hf.co/{GEMMA}").path).name == "gemma-Q4_K_M.gguf"


def test_a_gguf_alone_needs_no_quantisation_in_its_name(library, folder) -> None:
    write_gguf(folder / "me/own/thing.gguf")
    (model,) = library.list()
    assert model.name == "hf.co/me/own:latest"
    assert library.find(model.name).path == library.find("me/own").path


def test_a_folder_of_safetensors_is_an_mlx_model(library, folder) -> None:
    write_mlx(folder / "mlx-community/Tiny-4bit")
    (model,) = library.list()
    assert (model.name, model.format) == ("mlx-community/Tiny-4bit:latest", "mlx")


def test_what_is_no_model_is_not_listed(library, folder) -> None:
    (folder / "me/empty").mkdir(parents=True)
    (folder / ".hidden/x").mkdir(parents=True)
    write_gguf(folder / "me/a b/x.gguf")
    write_gguf(folder / "me/damaged/x-Q8_0.gguf").write_bytes(b"GGUF")
    (folder / "me/parts").mkdir()
    write_safetensors(folder / "me/parts/model.safetensors", {})
    assert library.list() == []


def test_the_folder_is_where_lm_studio_says(tmp_path) -> None:
    assert models_folder(tmp_path) == tmp_path / ".lmstudio/models"
    (tmp_path / ".cache/lm-studio").mkdir(parents=True)
    assert models_folder(tmp_path) == tmp_path / ".cache/lm-studio/models"
    home = tmp_path / "elsewhere"
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{home}\n")
    assert models_folder(tmp_path) == home / "models"
    home.mkdir()
    for damaged in ("{", "[]", '{"downloadsFolder": 1}', "\udcff"):
        (home / "settings.json").write_bytes(damaged.encode(errors="surrogateescape"))
        assert models_folder(tmp_path) == home / "models"
    (home / "settings.json").write_text(json.dumps({"downloadsFolder": str(tmp_path / "big")}))
    assert models_folder(tmp_path) == tmp_path / "big"

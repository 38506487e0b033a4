import hashlib
import json
from pathlib import Path

import pytest

from ollmlx.store.library import Library
from ollmlx.store.ollama.manifests import BadManifest
from ollmlx.wire.native import Message
from tests.store.shelf import CHATML, OllamaFolder, write_gguf

NAME = "registry.ollama.ai/library/m/latest"
TOOLS = "{{ if .Tools }}{{ .Tools }}{{ end }}{{ range .Messages }}{{ .Content }}{{ end }}"


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    return write_gguf(tmp_path / "w.gguf", tokenizer__chat_template=CHATML).read_bytes()


def test_every_layer_fills_its_field(
    library: Library, store: OllamaFolder, weights: bytes, tmp_path: Path
) -> None:
    projector = write_gguf(tmp_path / "p.gguf", "clip", clip__has_audio_encoder=True).read_bytes()
    text = store.add(
        NAME,
        {
            "model_format": "gguf",
            "model_family": "gemma3",
            "model_families": ["gemma3", "clip"],
            "model_type": "4.3B",
            "file_type": "Q4_K_M",
            "parser": "qwen3",
            "renderer": "qwen3-coder",
            "requires": "0.14.0",
            "context_length": 9,
            "rootfs": {"type": "layers"},
        },
        ("model", weights),
        ("projector", projector),
        ("adapter", b"lora"),
        ("template", b"old"),
        ("template", TOOLS.encode()),
        ("system", b"Be brief."),
        ("params", b'{"stop": ["<a>", "<b>"], "temperature": 0.6}'),
        ("messages", b'[{"role": "user", "content": "hi"}]'),
        ("license", b"MIT"),
        ("license", b"Apache"),
    )
    model = library.find("m")
    assert model.full_name == "registry.ollama.ai/library/m:latest"
    assert model.digest == hashlib.sha256(text).hexdigest()
    manifest = json.loads(text)
    sizes = [layer["size"] for layer in [manifest["config"], *manifest["layers"]]]
    assert model.size == sum(sizes)
    assert Path(model.path).read_bytes() == weights
    assert model.details.parent_model == "base:latest"
    assert model.details.families == ["gemma3", "clip"]
    assert (model.details.parameter_size, model.details.quantization_level) == ("4.3B", "Q4_K_M")
    assert (model.details.context_length, model.details.embedding_length) == (9, 64)
    assert [Path(path).read_bytes() for path in model.adapters] == [b"lora"]
    assert [Path(path).read_bytes() for path in model.projectors] == [projector]
    assert (model.template, model.system, model.chat_template) == (TOOLS, "Be brief.", CHATML)
    assert model.parameters == {"stop": ["<a>", "<b>"], "temperature": 0.6}
    assert model.messages == (Message("user", "hi"),)
    assert model.licenses == ("MIT", "Apache")
    assert (model.renderer, model.parser, model.requires) == ("qwen3-coder", "qwen3", "0.14.0")
    assert model.capabilities == ("completion", "vision", "audio", "tools")
    assert model.modified_at.timestamp() == 1_700_000_000
    assert model.modified_at.tzinfo is not None


def test_tags_lists_capabilities_in_its_own_order(
    library: Library, store: OllamaFolder, tmp_path: Path
) -> None:
    jinja = CHATML + "{{ tools }}<think></think>"
    weights = write_gguf(tmp_path / "w2.gguf", tokenizer__chat_template=jinja).read_bytes()
    store.add(NAME, {"capabilities": ["insert"]}, ("model", weights))
    assert library.find("m").capabilities == ("insert", "tools", "thinking", "completion")
    assert library.list()[0].capabilities == ("completion", "tools", "insert", "thinking")


def test_a_pooling_type_means_embedding(
    library: Library, store: OllamaFolder, tmp_path: Path
) -> None:
    weights = write_gguf(tmp_path / "e.gguf", "bert", bert__pooling_type=1).read_bytes()
    store.add(NAME, {}, ("model", weights))
    model = library.find("m")
    assert model.capabilities == ("embedding",)
    assert (model.details.family, model.details.families) == ("bert", None)


def test_stops_of_a_manifest_are_its_own_alone(
    library: Library, store: OllamaFolder, weights: bytes
) -> None:
    store.add(NAME, {}, ("model", weights))
    assert library.find("m").parameters == {}


def test_a_name_may_have_a_host_with_a_port(
    library: Library, store: OllamaFolder, weights: bytes
) -> None:
    store.add("localhost:5000/ns/m/t", {}, ("model", weights))
    assert library.find("localhost:5000/ns/m:t").name == "localhost:5000/ns/m:t"
    assert [model.name for model in library.list()] == ["localhost:5000/ns/m:t"]


def test_texts_named_thousands_of_times_are_not_read_as_often(
    library: Library, store: OllamaFolder, weights: bytes
) -> None:
    text = ("license", b"x" * (1 << 20))
    store.add(NAME, {}, ("model", weights), *[text] * 60)
    assert len(library.find("m").licenses) == 60
    store.add(NAME, {}, ("model", weights), *[text] * 5000)
    with pytest.raises(BadManifest, match="longer than"):
        library.find("m")


def test_a_model_is_read_anew_when_a_file_of_it_changes(
    library: Library, store: OllamaFolder, weights: bytes
) -> None:
    for system in ("one", "two"):
        store.add(NAME, {}, ("model", weights), ("system", system.encode()))
        assert [library.find("m").system for _ in range(2)] == [system] * 2
    model = library.find("m")
    assert library.find("m") is model
    Path(model.path).unlink()
    with pytest.raises(BadManifest, match="is missing"):
        library.find("m")
    assert library.list() == []

"""Modelfiles and the files they name: which are taken, what they are called, what is refused."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ollmlx.cli import components
from ollmlx.cli.connection import Connection
from ollmlx.cli.creating import create
from ollmlx.cli.flags import Words
from ollmlx.cli.program import run
from ollmlx.errors import OllmlxError
from ollmlx.servers import Server
from ollmlx.settings import Settings
from ollmlx.store.ollama import modelfile
from tests.serving import served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the Modelfile lies."""
    made = tmp_path / "recipe"
    made.mkdir()
    return made


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The store of a running server."""
    folder = tmp_path / "store"
    monkeypatch.delenv("OLLMLX_HOST", raising=False)
    with served(Settings(models=folder, embedded=False)) as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        yield folder


def gathered(text: str, folder: Path) -> components.Components:
    return components.gather(modelfile.parse(text.encode()), folder)


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_a_name_is_a_model_and_a_path_that_is_there_is_a_file(folder):
    put(folder, "m.gguf", "llama3")
    assert gathered("FROM other", folder).base == "other"
    found = gathered("FROM ./m.gguf\nADAPTER ./llama3", folder)
    assert found.base == ""
    assert found.files == {
        folder / "m.gguf": "sha256:" + hashlib.sha256(b"m.gguf").hexdigest(),
    }
    assert list(found.adapters) == [folder / "llama3"]


def test_a_folder_gives_its_weights_and_their_configuration(folder):
    mine = ["model-1.safetensors", "config.json", "1_Pooling/config.json", "chat_template.jinja"]
    put(folder, *mine, "consolidated.safetensors", "other.gguf", "README.md", "tokenizer.model")
    found = gathered("FROM .", folder)
    names = components.names(found.files)
    assert sorted(names.values()) == sorted([*mine, "tokenizer.model"])


def test_the_first_kind_of_weights_that_is_there_counts(folder):
    put(folder, "m.gguf", "n.bin")
    assert [file.name for file in gathered("FROM .", folder).files] == ["m.gguf"]


def test_an_adapter_is_a_folder_of_its_own_kind(folder):
    put(folder, "lora/adapters.safetensors", "lora/adapter_config.json")
    found = gathered("FROM base\nADAPTER lora", folder)
    assert sorted(components.names(found.adapters).values()) == [
        "adapter_config.json",
        "adapters.safetensors",
    ]


def test_a_link_out_of_the_folder_is_refused(folder):
    put(folder.parent, "elsewhere/.cache/blob", "outside")
    (folder / "model.safetensors").symlink_to(folder.parent / "outside")
    with pytest.raises(components.OutsideFolder, match=r"^insecure path: \.\./outside$"):
        gathered("FROM .", folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder.parent / "elsewhere/.cache/blob")
    with pytest.raises(components.OutsideFolder, match="Use --local-dir <dir> when"):
        gathered("FROM .", folder)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("FROM .", "no Modelfile or safetensors files found"),
        ("FROM x\nADAPTER ./nope", "no such file or directory"),
        ("FROM ./f\nDRAFT ./f", "DRAFT must not reference the same local path as FROM: "),
    ],
)
def test_files_that_will_not_do_are_told(folder, text, told):
    put(folder, "f")
    if text == "FROM .":
        (folder / "f").unlink()
    with pytest.raises(OllmlxError, match=told):
        gathered(text, folder)


def test_a_model_is_made_of_a_file_and_words(store, folder, scripted, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    shutil.copy(scripted.gguf, folder / "m.gguf")
    words = 'FROM m.gguf\nSYSTEM Be brief.\nPARAMETER stop "a"\nPARAMETER stop b\n'
    (folder / "Modelfile").write_text(f"{words}PARAMETER mirostat 1\nMESSAGE user hi\n")
    run(["create", "mine"])
    shown = capsys.readouterr()
    assert shown.out == "warning: parameter mirostat is deprecated\n"
    told = shown.err.splitlines()
    assert told[0] == "gathering model components"
    assert told[1].startswith("copying file sha256:")
    assert told[-1] == "success"
    run(["show", "mine", "--modelfile"])
    text = capsys.readouterr().out
    assert "SYSTEM Be brief.\nPARAMETER stop a\nPARAMETER stop b\nMESSAGE user hi\n" in text
    (folder / "Again").write_text("FROM mine\nSYSTEM Be long.\n")
    run(["create", "again", "-f", "Again"])
    run(["show", "--system", "again"])
    assert capsys.readouterr().out == "Be long."
    run(["cp", "again", "copied"])
    run(["rm", "again", "copied"])
    run(["list"])
    out = capsys.readouterr().out
    assert "deleted 'again'\ndeleted 'copied'\n" in out
    assert "mine:latest" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("create mine", "no Modelfile or safetensors files found"),
        ("create mine -f Nope", "specified Modelfile wasn't found"),
        ("create mine -f Bad", r"\(line 1\): command must be one of"),
        ("create mine -f Named --draft-quantize q8_0", "--draft-quantize requires a DRAFT model"),
        ("create a/b/c/d/e -f Named", "invalid model name: a/b/c/d/e"),
    ],
)
def test_a_create_that_cannot_be_is_refused(store, folder, monkeypatch, words, told):
    monkeypatch.chdir(folder)
    (folder / "Bad").write_text("FRM x\n")
    (folder / "Named").write_text("FROM x\n")
    with pytest.raises(OllmlxError, match=told):
        run(words.split())


def test_a_model_for_another_machine_is_not_made_experimentally():
    with (
        closing(Connection(Server("http://box:11434", "test"))) as far_away,
        pytest.raises(OllmlxError, match="remote safetensor model creation not yet supported"),
    ):
        create(Words(["m"], {"experimental": True}), far_away)

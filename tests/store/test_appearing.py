"""The target appears whole or not at all, and nothing of the user's is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ollmlx import names
from ollmlx.settings import Settings
from ollmlx.store.appearing import (
    BeingConverted,
    NotReplaced,
    TargetInTheWay,
    appearing,
    put_back,
    recover,
)
from ollmlx.store.changes import Changes, link_weights
from ollmlx.store.library import Library
from ollmlx.store.ollama.blobs import CannotStore
from tests.toy import ToyModels


def fill(folder: Path, text: str = "{}") -> None:
    (folder / "config.json").write_text(text)


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def killed_while_filling(target: Path) -> int:
    program = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from ollmlx.store.appearing import appearing\n"
        f"with appearing(Path({str(target)!r})) as folder:\n"
        "    (folder / 'part-00001.safetensors').write_text('half of it')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    return subprocess.run([sys.executable, "-c", program], check=False).returncode


def killed_while_swapping(target: Path, source: Path) -> int:
    """Replace a model by another one, and be killed between the two renames."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from ollmlx.store.appearing import appearing\n"
        "from ollmlx.store.changes import link_weights\n"
        f"target, source = Path({str(target)!r}), Path({str(source)!r})\n"
        "def kill(event, arguments):\n"
        "    if event == 'os.rename' and Path(arguments[1]) == target:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(kill)\n"
        "with appearing(target, replace=True) as folder:\n"
        "    link_weights(source, folder)\n"
    )
    return subprocess.run([sys.executable, "-c", program], check=False).returncode


def test_the_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    with appearing(tmp_path / "deep" / "model") as folder:
        fill(folder)
        assert not (tmp_path / "deep" / "model").exists()
    assert listed(tmp_path / "deep") == ["model"]
    assert listed(tmp_path / "deep" / "model") == ["config.json"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with pytest.raises(CannotStore, match="Is a directory"), appearing(target) as folder:
        folder.write_text("a folder is no file")
    assert listed(tmp_path) == []


def test_what_a_killed_process_leaves_is_hidden_and_removed_by_the_next(tmp_path: Path) -> None:
    assert killed_while_filling(tmp_path / "model") == -signal.SIGKILL
    assert listed(tmp_path) == [".model.converting"]
    with appearing(tmp_path / "model") as folder:
        assert listed(folder) == []
        fill(folder)
    assert listed(tmp_path) == ["model"]


def test_a_folder_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    fill(tmp_path / "model", "old")
    with pytest.raises(TargetInTheWay, match="exists already"), appearing(tmp_path / "model"):
        pass
    assert (tmp_path / "model" / "config.json").read_text() == "old"


def test_replacing_keeps_the_old_model_until_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    fill(tmp_path / "model", "old")
    with (
        pytest.raises(ZeroDivisionError),
        appearing(tmp_path / "model", replace=True),
    ):
        raise ZeroDivisionError
    assert (tmp_path / "model" / "config.json").read_text() == "old"
    with appearing(tmp_path / "model", replace=True) as folder:
        fill(folder, "new")
        assert (tmp_path / "model" / "config.json").read_text() == "old"
    assert (tmp_path / "model" / "config.json").read_text() == "new"
    assert listed(tmp_path) == ["model"]


def test_only_a_model_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years")
    with (
        pytest.raises(NotReplaced, match="not a model"),
        appearing(tmp_path / "home", replace=True),
    ):
        pass
    assert listed(tmp_path / "home") == ["thesis.tex"]


def test_a_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    fill(tmp_path / "model")
    (tmp_path / "link").symlink_to(tmp_path / "model")
    with pytest.raises(NotReplaced), appearing(tmp_path / "link", replace=True):
        pass


def test_an_empty_folder_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with appearing(tmp_path / "model") as folder:
        fill(folder)
    assert listed(tmp_path) == ["model"]


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    with appearing(tmp_path / "model") as folder:
        fill(folder)
        with (
            pytest.raises(BeingConverted, match="another process"),
            appearing(tmp_path / "model"),
        ):
            pass
    assert listed(tmp_path) == ["model"]


def test_a_swap_that_was_killed_half_way_is_undone(tmp_path: Path) -> None:
    (tmp_path / ".model.replaced").mkdir()
    fill(tmp_path / ".model.replaced", "old")
    with (
        pytest.raises(ZeroDivisionError),
        appearing(tmp_path / "model", replace=True),
    ):
        raise ZeroDivisionError
    assert (tmp_path / "model" / "config.json").read_text() == "old"


def test_a_hidden_link_planted_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    fill(tmp_path / "precious")
    os.symlink(tmp_path / "precious", tmp_path / ".model.converting")
    with pytest.raises(CannotStore), appearing(tmp_path / "model"):
        pass
    assert listed(tmp_path / "precious") == ["config.json"]


def test_what_was_killed_is_put_right_without_a_second_attempt(tmp_path: Path) -> None:
    killed_while_filling(tmp_path / "half")
    swapped = tmp_path / ".model.replaced"
    swapped.mkdir()
    fill(swapped)
    (tmp_path / ".gone.deleted").mkdir()
    recover(tmp_path)
    assert listed(tmp_path) == ["model"]


def test_a_folder_that_is_being_filled_is_left_alone(tmp_path: Path) -> None:
    with appearing(tmp_path / "model") as folder:
        fill(folder)
        recover(tmp_path)
        assert folder.is_dir()
    assert listed(tmp_path) == ["model"]


@pytest.mark.parametrize("look", ["list", "find", "change"])
def test_a_model_whose_replacing_was_killed_is_found_by_the_next_look(
    toy: ToyModels, tmp_path: Path, look: str
) -> None:
    library = Library(Settings(models=tmp_path, embedded=False), tmp_path / "h", tmp_path / "s")
    target = library.mlx_path(names.parse("mine:7"))
    with appearing(target) as folder:
        link_weights(toy.mlx, folder)
    assert killed_while_swapping(target, toy.mlx) == -signal.SIGKILL
    assert listed(target.parent) == [".7.converting", ".7.replaced"]
    if look == "list":
        assert [model.name for model in library.list()] == ["mine:7"]
    elif look == "find":
        assert library.find("Mine:7").path == str(target)
    else:
        assert Changes(tmp_path).delete(names.parse("mine:7"), None)
        return
    assert listed(target.parent) == ["7"]


def test_a_model_that_is_being_replaced_is_not_put_back(tmp_path: Path) -> None:
    with appearing(tmp_path / "model") as folder:
        fill(folder)
        left = tmp_path / ".model.replaced"
        left.mkdir()
        assert put_back(left) is None
        left.rmdir()
    assert put_back(left) is None
    assert listed(tmp_path) == ["model"]

"""Models deleted from a Hugging Face cache, laid out as huggingface_hub does."""

import hashlib
from pathlib import Path

import pytest

from ollmlx.store.places import cached
from tests.store.shelf import write_gguf, write_mlx


class Repository:
    def __init__(self, hub: Path) -> None:
        self.root = hub / "models--me--tiny"
        self.blobs = self.root / "blobs"
        for folder in ("blobs", "refs", "snapshots"):
            (self.root / folder).mkdir(parents=True)

    def add(self, commit: str, files: dict[str, bytes], branch: str = "") -> Path:
        snapshot = self.root / "snapshots" / commit
        for name, content in files.items():
            blob = self.blobs / hashlib.sha256(content).hexdigest()
            blob.write_bytes(content)
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / name).symlink_to(blob)
        if branch:
            (self.root / "refs" / branch).write_text(commit)
        return snapshot

    def contents(self) -> set[bytes]:
        return {path.read_bytes() for path in self.blobs.iterdir()}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "hub")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """Of an MLX model."""
    return {path.name: path.read_bytes() for path in write_mlx(tmp_path / "mlx").iterdir()}


def test_one_revision_goes_and_another_keeps_what_both_have(library, repository, files) -> None:
    repository.add("aaa", {**files, "old.json": b"old"}, "main")
    repository.add("bbb", files, "other")
    cached.remove(Path(library.find("me/tiny").path))
    assert library.list() == []
    assert library.find("me/tiny:other").format == "mlx"
    assert repository.contents() == set(files.values())
    assert [path.name for path in (repository.root / "refs").iterdir()] == ["other"]
    cached.remove(Path(library.find("me/tiny:other").path))
    assert not repository.root.exists()


def test_one_quantisation_goes_with_all_its_parts(library, repository, tmp_path) -> None:
    weights = write_gguf(tmp_path / "w.gguf").read_bytes()
    parts = {f"m-Q8_0-0000{n}-of-00002.gguf": weights + bytes([n]) for n in (1, 2)}
    eyes = write_gguf(tmp_path / "eyes.gguf", "clip", general__type="mmproj").read_bytes()
    other = {"m-Q4_0.gguf": weights, "mmproj-F16.gguf": eyes, "README.md": b"read me"}
    snapshot = repository.add("aaa", {**parts, **other}, "main")
    cached.remove(snapshot / "m-Q8_0-00001-of-00002.gguf")
    assert [model.name for model in library.list()] == ["hf.co/me/tiny:Q4_0"]
    assert repository.contents() == set(other.values())


def test_the_last_quantisation_takes_the_repository_along(repository) -> None:
    snapshot = repository.add("aaa", {"sub/m-Q8_0.gguf": b"weights", "README.md": b"me"}, "main")
    cached.remove(snapshot / "sub/m-Q8_0.gguf")
    assert not repository.root.exists()


def test_a_link_out_of_the_cache_costs_the_link_alone(repository, tmp_path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"mine")
    snapshot = repository.add("aaa", {"m-Q4_0.gguf": b"weights"}, "main")
    (snapshot / "m-Q8_0.gguf").symlink_to(mine)
    cached.remove(snapshot / "m-Q8_0.gguf")
    assert mine.read_bytes() == b"mine"
    assert repository.contents() == {b"weights"}


@pytest.mark.parametrize("place", ["studio/me/tiny", "models--x--y/other/snapshots"])
def test_what_lies_elsewhere_is_not_touched(tmp_path, place) -> None:
    path = write_gguf(tmp_path / place / "m-Q8_0.gguf")
    for each in (path, path.parent):
        with pytest.raises(cached.NotInCache, match="remove it where it lies"):
            cached.remove(each)
    assert path.exists()

"""Which files of a repository full of GGUFs are the model that a tag means."""

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from ollmlx import names

_NAME = re.compile(
    r"(?:^|[-._])((?:UD-)?(?:(?:IQ|Q|TQ)\d\w*|BF16|F16|F32|MXFP4\w*))$", re.IGNORECASE
)
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})")
# What a repository without a tag means: as the hub chooses for Ollama, then what is nearest to it.
_PREFERRED = ("Q4_K_M", "Q4_K_S", "Q4_0", "Q5_K_M", "IQ4_XS", "Q8_0", "MXFP4", "F16", "BF16", "F32")


def quantization(path: str) -> str:
    """`Q4_K_M` out of a file's name, as it is spelled there; empty when it says none."""
    match = _NAME.search(_stem(path))
    return match[1] if match else ""


def first_files(paths: Iterable[str]) -> list[str]:
    """The GGUF models among files, each by its first or only part, without projectors."""
    return sorted(path for path in paths if _is_model(path) and _number(path) <= 1)


def choose(paths: Iterable[str], tag: str) -> str | None:
    """The first part of the model that the tag names; for `latest` the one most people want."""
    found = first_files(paths)
    if tag.lower() != names.TAG:
        return next((path for path in found if _is(path, tag)), None)
    preferred = (path for wanted in _PREFERRED for path in found if _is(path, wanted))
    return next(preferred, found[0] if found else None)


def parts(paths: Iterable[str], first: str) -> Iterator[str]:
    """All files of a model that is perhaps split, in order."""
    match = _SHARD.fullmatch(first.removesuffix(".gguf"))
    if match is None:
        yield first
        return
    for path in sorted(paths):
        other = _SHARD.fullmatch(path.removesuffix(".gguf"))
        if other and (other[1], other[3]) == (match[1], match[3]):
            yield path


def projector(paths: Iterable[str], model: str) -> str | None:
    """What a model sees through: beside it or at the top, of 16 bits if there are several."""
    folder = PurePosixPath(model).parent
    near = [
        path
        for path in sorted(paths)
        if _is_projector(path) and PurePosixPath(path).parent in (folder, PurePosixPath("."))
    ]
    ranked = sorted(near, key=lambda path: quantization(path).upper() not in ("F16", "BF16"))
    return ranked[0] if ranked else None


def of_one_model(paths: Iterable[str]) -> bool:
    """Whether the GGUF models among files are quantisations of the same one, by their names."""
    stems = {_stem(path).removesuffix(quantization(path)).lower() for path in first_files(paths)}
    return len(stems) == 1


def _stem(path: str) -> str:
    stem = PurePosixPath(path).name.removesuffix(".gguf")
    match = _SHARD.fullmatch(stem)
    return match[1] if match else stem


def _number(path: str) -> int:
    match = _SHARD.fullmatch(path.removesuffix(".gguf"))
    return int(match[2]) if match else 1


def _is_projector(path: str) -> bool:
    return path.endswith(".gguf") and "mmproj" in PurePosixPath(path).name.lower()


def _is_model(path: str) -> bool:
    return path.endswith(".gguf") and not _is_projector(path)


def _is(path: str, wanted: str) -> bool:
    return quantization(path).lower() == wanted.lower()

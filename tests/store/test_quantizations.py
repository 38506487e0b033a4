"""Which GGUF of many a tag means."""

import pytest

from ollmlx import names
from ollmlx.store.places import shortnames
from ollmlx.store.transfer import quantizations

FILES = [
    "README.md",
    "Big-IQ4_XS.gguf",
    "Big-Q4_K_M.gguf",
    "Big-UD-Q4_K_XL.gguf",
    "BF16/Big-BF16-00001-of-00002.gguf",
    "BF16/Big-BF16-00002-of-00002.gguf",
    "mmproj-BF16.gguf",
    "mmproj-F32.gguf",
]


@pytest.mark.parametrize(
    ("tag", "file"),
    [
        ("latest", "Big-Q4_K_M.gguf"),
        ("q4_k_m", "Big-Q4_K_M.gguf"),
        ("IQ4_XS", "Big-IQ4_XS.gguf"),
        ("UD-Q4_K_XL", "Big-UD-Q4_K_XL.gguf"),
        ("BF16", "BF16/Big-BF16-00001-of-00002.gguf"),
        ("Q8_0", None),
        ("4_K_M", None),
        ("main", None),
    ],
)
def test_a_tag_is_a_quantization(tag, file):
    assert quantizations.choose(FILES, tag) == file


def test_without_a_tag_a_repository_has_at_least_its_first_model():
    assert quantizations.choose(["b.gguf", "a.gguf", "mmproj-a.gguf"], "latest") == "a.gguf"
    assert quantizations.choose(["README.md"], "latest") is None


def test_parts_of_a_model_belong_together():
    assert list(quantizations.parts(FILES, "BF16/Big-BF16-00001-of-00002.gguf")) == FILES[4:6]
    assert list(quantizations.parts(FILES, "Big-Q4_K_M.gguf")) == ["Big-Q4_K_M.gguf"]


def test_a_model_sees_through_sixteen_bits():
    assert quantizations.projector(FILES, "BF16/Big-BF16-00001-of-00002.gguf") == "mmproj-BF16.gguf"
    assert quantizations.projector(FILES[:4], "Big-Q4_K_M.gguf") is None


def test_short_names_are_names_and_mean_repositories():
    for short in shortnames.SHORT_NAMES:
        assert shortnames.meant(names.parse(short.name.upper())) == short.target
        assert short.target.namespace == "mlx-community"
        assert short.repository.endswith("-4bit")
    assert shortnames.meant(names.parse("llama3.2:1b")).display == "llama3.2:1b"

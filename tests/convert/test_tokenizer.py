"""Text becomes the tokens that llama.cpp makes of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from ollmlx.convert import tokenizer
from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.stops import spelled_ends, stop_ids
from ollmlx.convert.vocabulary import Vocabulary
from ollmlx.gguf import Gguf
from tests.convert.running import smollm2
from tests.toy import ToyModels

TRICKY = [
    "",
    " ",
    "   three before",
    "trailing   ",
    "a\n\n\nb\r\n\tc \n d",
    "x\n" + 60 * " " + "y = 1",
    "Hello, world! It's we'll I'd THEY'RE",
    "12345678901234567890 3.14159 1,000,000 ٣٤٥ ½",
    "def f(x):\n\treturn x**2  # ñandú\n\n\n",
    "for (int i=0;i<10;++i) { a[i] <<= 2; } // ok?",
    "😀👩‍👩‍👧‍👦🇫🇷 e\u0301 ﬁ \u200d",
    "नमस्ते दुनिया தமிழ் বাংলা",
    "你好\uff0c世界。こんにちは 안녕하세요",
    "Привет мир مرحبا שלום",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|><|im_end|><|endoftext|> <|im_start",
    "https://example.org/a?b=c&d=%20#e",
    "\u00a0\u2003\ufeff\x00\x1b[0m",
    "-----=====_____.....!!!!!????",
]


class Llama:
    """llama.cpp's own tokenizer of a file, without its weights."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        self._llama = llama_cpp
        self._model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model.model)

    def encode(self, text: str) -> list[int]:
        return list(self._model.tokenize(text.encode(), add_bos=False, special=True))

    @property
    def ends(self) -> list[int]:
        count = self._llama.llama_vocab_n_tokens(self._vocabulary)
        is_end = self._llama.llama_vocab_is_eog
        return [token for token in range(count) if is_end(self._vocabulary, token)]

    @property
    def adds_bos(self) -> bool:
        return bool(self._llama.llama_vocab_get_add_bos(self._vocabulary))

    def close(self) -> None:
        self._model.close()


@pytest.fixture(params=["toy", pytest.param("smollm2", marks=pytest.mark.model)])
def pair(
    request: pytest.FixtureRequest, toy: ToyModels
) -> Iterator[tuple[Vocabulary, Tokenizer, Llama]]:
    path = toy.gguf if request.param == "toy" else smollm2()
    theirs = Llama(path)
    vocabulary = Vocabulary(Gguf(path).meta)
    yield vocabulary, tokenizer.build(vocabulary), theirs
    theirs.close()


def test_tokens_are_llama_cpps(pair: tuple[Vocabulary, Tokenizer, Llama]) -> None:
    _, ours, theirs = pair
    different = [text for text in TRICKY if ours.encode(text).ids != theirs.encode(text)]
    assert different == []


def test_text_comes_back(pair: tuple[Vocabulary, Tokenizer, Llama]) -> None:
    _, ours, _ = pair
    for text in TRICKY:
        ids = ours.encode(text).ids
        assert ours.decode(ids, skip_special_tokens=False) == text


def test_answers_end_where_llama_cpp_ends_them(pair: tuple[Vocabulary, Tokenizer, Llama]) -> None:
    vocabulary, _, theirs = pair
    assert stop_ids(vocabulary) == theirs.ends
    assert tokenizer.adds_bos(vocabulary) == theirs.adds_bos


def test_harmonys_end_of_a_message_does_not_end_the_answer() -> None:
    assert spelled_ends({"<|end|>", "<|return|>", "<|call|>"}) == {"<|return|>", "<|call|>"}
    assert spelled_ends({"<|end|>", "<|endoftext|>"}) == {"<|end|>", "<|endoftext|>"}


def meta(kind: str, **values: Any) -> dict[str, Any]:
    return {f"tokenizer.ggml.{name}": value for name, value in {"model": kind, **values}.items()}


def scored() -> dict[str, Any]:
    """A sentencepiece vocabulary: the earlier a token, the better its score."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = ["▁the", "the", "th", "▁t", "he", "▁", "t", "h", "e"]
    return meta(
        "llama",
        tokens=tokens + pieces,
        scores=[0.0] * len(tokens) + [-float(number) for number in range(len(pieces))],
        token_type=[2, 3, 3] + [6] * 256 + [1] * len(pieces),
        bos_token_id=1,
        eos_token_id=2,
        unknown_token_id=0,
    )


def test_scores_become_merges() -> None:
    built = tokenizer.build(Vocabulary(scored()))
    assert built.encode("the thé").tokens == ["<s>", "▁the", "▁", "th", "<0xC3>", "<0xA9>"]
    assert built.decode(built.encode("the thé").ids) == "the thé"


def test_a_space_is_put_before_only_where_the_file_wants_it() -> None:
    vocabulary = Vocabulary(scored() | meta("llama", add_space_prefix=False))
    assert tokenizer.build(vocabulary).encode("the").tokens == ["<s>", "the"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (meta("bert", tokens=["a"]), "kind 'bert'"),
        (meta("gpt2"), "no vocabulary"),
        (meta("gpt2", tokens=["a", "b"], token_type=[1]), "token_type is not as long"),
        (meta("gpt2", tokens=["a"], pre="kimi-k2"), "pre-tokenizer 'kimi-k2'"),
        (meta("gpt2", tokens=[1, 2]), "not a list of texts"),
        (meta("llama", tokens=["a"]), "neither merges nor scores"),
        (meta("llama", tokens=["a"], scores=["high"]), "not a list of numbers"),
    ],
)
def test_a_vocabulary_that_cannot_be_kept_is_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(NotConvertible, match=told):
        tokenizer.build(Vocabulary(values))


def test_repeated_and_empty_tokens_keep_their_ids() -> None:
    vocabulary = Vocabulary(meta("gpt2", tokens=["a", "", "a", "b"], merges=[]))
    assert vocabulary.ids == {"a": 0, "[UNUSED_1]": 1, "[UNUSED_2]": 2, "b": 3}

"""The bytes of tokens, for every kind of tokenizer.json that MLX models come with."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from ollmlx.engine.mlx.vocabulary import Vocabulary
from tests.toy import ToyModels


def _vocabulary(folder: Path, tokenizer: Tokenizer, **settings: Any) -> Vocabulary:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return Vocabulary(folder, {})


@pytest.fixture
def llama2(tmp_path: Path) -> Vocabulary:
    """SentencePiece as transformers converts it: words begin with ▁, unknown bytes stand alone."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁", "a", "▁a", "▁▁"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=[("▁", "a"), ("▁", "▁")],
            byte_fallback=True,
            unk_token="<unk>",
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return _vocabulary(
        tmp_path, tokenizer, bos_token="<s>", eos_token={"content": "</s>"}, add_bos_token=True
    )


def test_a_byte_level_token_is_its_bytes(toy: ToyModels) -> None:
    words = Vocabulary(toy.mlx, {})
    tokens = words.tokenize(" there\n😀", False)
    assert [words.piece(token) for token in tokens] == [
        b" there",
        b"\n",
        *(bytes([byte]) for byte in "😀".encode()),
    ]
    assert words.piece(10_000) == b""


def test_a_sentencepiece_token_keeps_its_space_and_its_byte(llama2: Vocabulary) -> None:
    spell = llama2.speller()
    tokens = llama2.tokenize("a é", False)
    assert b"".join(map(spell, tokens)) == " a é".encode()
    assert b"\xc3" in map(spell, tokens)
    assert llama2.detokenize(tokens) == "a é"


def test_begin_and_end_tokens_are_read_from_text_and_from_objects(llama2: Vocabulary) -> None:
    assert (llama2.bos, llama2.eos, llama2.ends) == ("<s>", "</s>", {2})
    assert llama2.adds_bos
    assert llama2.tokenize("a", True) == [1, *llama2.tokenize("a", False)]


def test_another_decoder_spells_answers_as_it_decodes_them(tmp_path: Path) -> None:
    tokens = {"[UNK]": 0, "play": 1, "##ing": 2, "cat": 3}
    tokenizer = Tokenizer(models.WordPiece(vocab=tokens, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    words = _vocabulary(tmp_path, tokenizer)
    spell = words.speller()
    assert b"".join(map(spell, [3, 1, 2, 3])) == b"cat playing cat"
    assert words.piece(1) == b"play"


def test_end_tokens_are_gathered_from_all_that_name_them(toy: ToyModels, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((toy.mlx / name).read_bytes())
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 8]}')
    words = Vocabulary(tmp_path, {"eos_token_id": 9, "text_config": {"eos_token_id": 10}})
    end = words.tokenize("<|im_end|>", False)
    assert words.ends == {7, 8, 9, 10, *end}

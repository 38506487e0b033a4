"""A GGUF's vocabulary as `tokenizer.json`, which gives the same ids as llama.cpp.

`pretokenizers.json` has, by GGUF's names, the expressions that cut text into words before BPE, and
what else a name implies.  They are those of llama.cpp's `llama-vocab.cpp` (MIT), except for tekken
and gpt-4o, which llama.cpp approximates and which are here as their makers publish them.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.vocabulary import CONTROL, SPACE, UNKNOWN, USER_DEFINED, Vocabulary


@dataclass(frozen=True)
class PreTokenizer:
    splits: tuple[str, ...]
    """Regular expressions, applied one after the other."""
    ignore_merges: bool
    """Whether a word that is a token is taken whole."""
    add_bos: bool
    """What holds where the file does not say."""


@cache
def pretokenizers() -> dict[str, PreTokenizer]:
    text = files("ollmlx.convert").joinpath("pretokenizers.json").read_text(encoding="utf-8")
    return {
        name: PreTokenizer(tuple(each["splits"]), each["ignore_merges"], each["add_bos"])
        for each in json.loads(text)
        for name in each["names"]
    }


def build(vocabulary: Vocabulary) -> Tokenizer:
    """Raises `NotConvertible` for kinds of vocabularies that have no portable form."""
    match vocabulary.value("model"):
        case "gpt2":
            tokenizer = _byte_level(vocabulary)
        case "llama":
            tokenizer = _sentencepiece(vocabulary)
        case "gemma4":
            tokenizer = _gemma4(vocabulary)
        case kind:
            raise NotConvertible(f"vocabularies of kind {kind!r} cannot be converted to MLX")
    _add_special(tokenizer, vocabulary)
    if post := _post_processor(vocabulary):
        tokenizer.post_processor = post
    return tokenizer


def adds_bos(vocabulary: Vocabulary) -> bool:
    """Whether llama.cpp begins every text with the beginning-of-sequence token."""
    said = vocabulary.value("add_bos_token")
    match vocabulary.value("model"):
        case "gemma4":
            return bool(said)
        case "gpt2":
            return bool(_pretokenizer(vocabulary).add_bos if said is None else said)
        case _:
            return bool(True if said is None else said)


def _pretokenizer(vocabulary: Vocabulary) -> PreTokenizer:
    name = vocabulary.value("pre") or "default"
    if name not in pretokenizers():
        raise NotConvertible(f"the pre-tokenizer {name!r} cannot be converted to MLX")
    return pretokenizers()[name]


def _byte_level(vocabulary: Vocabulary) -> Tokenizer:
    pre = _pretokenizer(vocabulary)
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary.ids,
            merges=vocabulary.merges(),
            ignore_merges=pre.ignore_merges,
            fuse_unk=False,
        )
    )
    splits = [pre_tokenizers.Split(Regex(split), "isolated") for split in pre.splits]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _falling_back(vocabulary: Vocabulary, merges: list[tuple[str, str]]) -> Tokenizer:
    """BPE over characters, with bytes for those that are not in the vocabulary."""
    return Tokenizer(
        models.BPE(
            vocab=vocabulary.ids,
            merges=merges,
            byte_fallback=True,
            fuse_unk=True,
            unk_token=vocabulary.token("unknown"),
        )
    )


def _sentencepiece(vocabulary: Vocabulary) -> Tokenizer:
    merges = vocabulary.merges() or scored_merges(vocabulary.ids, vocabulary.scores())
    tokenizer = _falling_back(vocabulary, merges)
    spaces = normalizers.Replace(" ", SPACE)
    decode = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if vocabulary.value("add_space_prefix", True):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces])
        tokenizer.decoder = decoders.Sequence([*decode, decoders.Strip(" ", 1, 0)])
    else:
        tokenizer.normalizer = normalizers.Sequence([spaces])
        tokenizer.decoder = decoders.Sequence(decode)
    return tokenizer


def _gemma4(vocabulary: Vocabulary) -> Tokenizer:
    tokenizer = _falling_back(vocabulary, vocabulary.merges())
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n+"), "isolated")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def scored_merges(ids: dict[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """The merges of a scored vocabulary: every way to make a token of two, the best token first."""
    found: list[tuple[float, int, int, int, str, str]] = []
    for token, number in ids.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ids and right in ids:
                found.append((-scores[number], number, ids[left], ids[right], left, right))
    found.sort(key=lambda each: each[:4])
    return [(left, right) for *_, left, right in found]


def _add_special(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """Tokens found in text as a whole: control tokens, hidden when decoded, and user-defined."""
    unknown = vocabulary.token_id("unknown")
    control, defined = [], []
    for number, kind in enumerate(vocabulary.types):
        token = vocabulary.names[number]
        if kind == CONTROL or (kind == UNKNOWN and number == unknown):
            control.append(AddedToken(token, special=True, normalized=False))
        elif kind == USER_DEFINED:
            defined.append(AddedToken(token, special=False, normalized=False))
    tokenizer.add_special_tokens(control)
    tokenizer.add_tokens(defined)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    if size != len(vocabulary.tokens):
        raise NotConvertible(f"the vocabulary of {len(vocabulary.tokens)} tokens became {size}")


def _post_processor(vocabulary: Vocabulary) -> Any:
    """Writes the beginning and the end of a sequence, where llama.cpp would."""
    begins = vocabulary.token("bos") if adds_bos(vocabulary) else None
    ends = vocabulary.token("eos") if vocabulary.value("add_eos_token") else None
    special = {token: vocabulary.ids[token] for token in (begins, ends) if token is not None}
    if special:
        before = [f"{begins}:0"] if begins else []
        after = [f"{ends}:0"] if ends else []
        return processors.TemplateProcessing(
            single=[*before, "$A:0", *after],
            pair=[*before, "$A:0", "$B:0", *after],
            special_tokens=list(special.items()),
        )
    if vocabulary.value("model") == "gpt2":
        return processors.ByteLevel(trim_offsets=False)
    return None


def settings(vocabulary: Vocabulary, context: int) -> dict[str, Any]:
    """`tokenizer_config.json`."""
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "add_bos_token": adds_bos(vocabulary),
    }
    roles = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    named = {name: vocabulary.token(role) for name, role in roles.items()}
    return config | {name: token for name, token in named.items() if token is not None}

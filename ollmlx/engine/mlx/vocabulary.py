"""The tokens of an MLX model: `tokenizer.json` as it is, and the bytes of every token.

Not transformers' tokenizers: they may rebuild the pre-tokenizer from the model's type, and their
streaming drops the space an answer begins with.
"""

import re
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from llguidance import LLTokenizer
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from ollmlx.engine.grammar import begin
from ollmlx.engine.mlx.folder import read_json
from ollmlx.errors import BadRequest, LoadFailed

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _gpt2_bytes() -> dict[str, int]:
    """The byte that each printable stand-in of GPT-2's means."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in printable)
    stand_ins = {chr(256 + place): byte for place, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | stand_ins


class Vocabulary:
    ends: frozenset[int]
    """Tokens that end an answer."""
    bos: str
    eos: str
    adds_bos: bool

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        """Raises `LoadFailed` where `tokenizer.json` is missing or bad."""
        self._tokenizer = _read_tokenizer(folder / "tokenizer.json")
        settings = read_json(folder / "tokenizer_config.json")
        self.bos, self.eos = _text(settings.get("bos_token")), _text(settings.get("eos_token"))
        self.ends = self._ends(config, read_json(folder / "generation_config.json"))
        self._bos_id = self._tokenizer.token_to_id(self.bos) if self.bos else None
        begins_itself = self._bos_id in self._tokenizer.encode("a").ids[:1]
        # Some tokenizer.json leave the begin token to the class that tokenizer_config.json names.
        self._prepends = bool(settings.get("add_bos_token")) and not begins_itself
        self.adds_bos = begins_itself or (self._prepends and self._bos_id is not None)
        self._byte_of = _gpt2_bytes()
        # Asked by example, because a decoder may be nested in a sequence of others.
        self._byte_level = self._decodes("Ġa", " a")
        self._metaspace = self._decodes("▁a", " a")
        self._byte_fallback = self._decodes("<0x41>", "A")
        self._grammars: Future[LLTokenizer] | None = None

    def tokenize(self, text: str, special: bool) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=special).ids
        if special and self._prepends and self._bos_id is not None:
            return [self._bos_id, *tokens]
        return tokens

    def detokenize(self, tokens: list[int]) -> str:
        """Raises `BadRequest` for numbers that are no tokens."""
        size = self._tokenizer.get_vocab_size()
        if not all(0 <= token < size for token in tokens):
            raise BadRequest(f"token ids must be from 0 to {size - 1}")
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False)
        return text

    def piece(self, token: int) -> bytes:
        """The token's bytes, its leading space too; empty for an id without a token."""
        spelling = self._tokenizer.id_to_token(token)
        if spelling is None:
            return b""
        if self._byte_level:
            known = all(letter in self._byte_of for letter in spelling)
            return bytes(self._byte_of[x] for x in spelling) if known else spelling.encode()
        if not self._metaspace:
            return str(self._tokenizer.decode([token], skip_special_tokens=False)).encode()
        byte = _BYTE.fullmatch(spelling) if self._byte_fallback else None
        return bytes.fromhex(byte[1]) if byte else spelling.replace("▁", " ").encode()

    def speller(self) -> Callable[[int], bytes]:
        """`piece` for the tokens of one answer, in order, whatever kind of decoder there is."""
        if self._byte_level or self._metaspace:
            return self.piece
        stream = DecodeStream(skip_special_tokens=False)
        return lambda token: (stream.step(self._tokenizer, token) or "").encode()

    def begin_grammars(self) -> Future[LLTokenizer]:
        self._grammars = self._grammars or begin(self._read_grammars)
        return self._grammars

    @property
    def grammars(self) -> LLTokenizer:
        """llguidance's view of the vocabulary.  Raises `ValueError` where it cannot take it."""
        return self.begin_grammars().result()

    def _read_grammars(self) -> LLTokenizer:
        return LLTokenizer(self._tokenizer.to_str(), eos_token=sorted(self.ends) or None)

    def _ends(self, *configs: dict[str, Any]) -> frozenset[int]:
        end = self._tokenizer.token_to_id(self.eos) if self.eos else None
        ends = set(_several(end))
        for config in configs:
            for part in (config, config.get("text_config") or {}):
                ends.update(_several(part.get("eos_token_id")))
        return frozenset(ends)

    def _decodes(self, spelling: str, text: str) -> bool:
        decoder = self._tokenizer.decoder
        return decoder is not None and decoder.decode(["b", spelling]) == "b" + text


def _read_tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise LoadFailed(f"{path.parent} has no tokenizer.json")
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises nothing narrower
        raise LoadFailed(f"unable to read {path}: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _text(token: str | dict[str, Any] | None) -> str:
    """`tokenizer_config.json` writes a token as its text or as an object around it."""
    return str(token.get("content") or "") if isinstance(token, dict) else token or ""


def _several(ids: int | Iterable[int] | None) -> Iterable[int]:
    return () if ids is None else (ids,) if isinstance(ids, int) else ids

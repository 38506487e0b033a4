"""What a GGUF says about its tokens, checked."""

from typing import Any

from ollmlx.convert.refusals import NotConvertible

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
"""GGUF's kinds of tokens."""

SPACE = "\u2581"
"""What sentencepiece writes for a space."""


class Vocabulary:
    """`tokenizer.ggml.*` of a file."""

    def __init__(self, meta: dict[str, Any]) -> None:
        self._meta = meta
        self.tokens: list[str] = self._texts("tokens")
        if not self.tokens:
            raise NotConvertible("the file has no vocabulary")
        self.types = self._numbers("token_type") or [NORMAL] * len(self.tokens)
        self.ids = _distinct(self.tokens)
        self.names = {number: token for token, number in self.ids.items()}
        self.gemma = str(meta.get("general.architecture", "")) in {"gemma", "gemma2", "gemma3"}
        if self.gemma:
            self._respell_spaces()

    def value(self, name: str, default: Any = None) -> Any:
        found = self._meta.get(f"tokenizer.ggml.{name}")
        return default if found is None else found

    def token_id(self, role: str) -> int | None:
        """The id of `bos`, `eos`, `unknown` …; None when there is none."""
        number = self.value(f"{role}_token_id")
        return number if isinstance(number, int) and number in self.names else None

    def token(self, role: str) -> str | None:
        number = self.token_id(role)
        return None if number is None else self.names[number]

    def merges(self) -> list[tuple[str, str]]:
        pairs = [tuple(merge.split(" ", 1)) for merge in self._texts("merges")]
        for pair in pairs:
            if len(pair) != 2 or not {pair[0], pair[1], pair[0] + pair[1]} <= self.ids.keys():
                raise NotConvertible(f"the merge {' '.join(pair)!r} is not of the vocabulary")
        return [(left, right) for left, right in pairs]

    def scores(self) -> list[float]:
        if self.gemma:  # The order of the tokens, not their score, is the order of the merges.
            return [-float(number) for number in range(len(self.tokens))]
        if not (scores := self._numbers("scores")):
            raise NotConvertible("the vocabulary has neither merges nor scores")
        return scores

    def _numbers(self, name: str) -> list[float]:
        """One number a token, or none at all."""
        found = self.value(name, [])
        if not isinstance(found, list) or not all(isinstance(each, int | float) for each in found):
            raise NotConvertible(f"tokenizer.ggml.{name} is not a list of numbers")
        if found and len(found) != len(self.tokens):
            raise NotConvertible(f"tokenizer.ggml.{name} is not as long as the vocabulary")
        return found

    def _texts(self, name: str) -> list[str]:
        found = self.value(name, [])
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise NotConvertible(f"tokenizer.ggml.{name} is not a list of texts")
        return found

    def _respell_spaces(self) -> None:
        """Gemma's runs of spaces are written as spaces in the file."""
        blank = {
            number: SPACE * len(token) for token, number in self.ids.items() if not token.strip(" ")
        }
        self.names |= blank
        self.ids = {token: number for number, token in self.names.items()}


def _distinct(tokens: list[str]) -> dict[str, int]:
    """Ids by token; an empty or repeated one gets a spelling of its own, so that every id stays."""
    ids: dict[str, int] = {}
    for number, token in enumerate(tokens):
        unusable = not token or token in ids
        ids[f"[UNUSED_{number}]" if unusable else token] = number
    return ids

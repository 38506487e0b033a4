"""One answer's way through a llguidance grammar: the tokens allowed next.

The same for both engines.  https://github.com/guidance-ai/llguidance
"""

import json
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from numpy.typing import NDArray

from ollmlx.errors import BadRequest

LIMITS = LLParserLimits(max_lexer_states=50_000, verbose_errors=False)
"""Of a lexer's states each takes up to 2 kB; the other bounds are llguidance's own."""
_MOST_KEPT = 16
"""Compiled grammars: the rows of a table come with one and the same."""
_FEW = 8
"""Tokens that are less than such a part of the vocabulary are handled one by one."""
_TAG = re.compile("\ue000(.*?)\ue001")
_SPECIAL = re.compile(r"(?:^| )(<\[\d+\]>.*)")
_UNTIL = re.compile("\ue002(.*?)\ue003")


def tag(text: str) -> str:
    """A text in a Lark grammar that the model may have special tokens for; see `Matcher`."""
    return f"\ue000{json.dumps(text)}\ue001"


def until(name: str, matching: str, text: str) -> str:
    """A rule of Lark: what terms of regular expressions match, up to a text as in `tag`."""
    return f"\ue002{json.dumps([name, matching, text])}\ue003"


def first_words(problem: str) -> str:
    """llguidance's words without the state, or the stack, that it adds."""
    return problem.partition("\n<")[0].strip()


def begin(make: Callable[[], LLTokenizer]) -> Future[LLTokenizer]:
    """Make a vocabulary's tokenizer while nothing is asked of its model.

    It takes half a second for 128,000 tokens, and llguidance keeps Python's lock for all of it, so
    that running answers would stand still, whichever thread makes it with the first grammar.
    """
    pool = ThreadPoolExecutor(1, "grammars")
    try:
        return pool.submit(make)
    finally:
        pool.shutdown(wait=False)


class Matcher:
    """One answer's way through a grammar."""

    finished: bool
    """Whether the answer is complete, so that only an end token may follow."""
    words: NDArray[np.uint32]
    """What `find` found: a bit a token of the vocabulary, the lowest first."""

    def __init__(self, tokenizer: LLTokenizer, grammar: str, num_vocab: int) -> None:
        """`num_vocab` is the width of the logits.  Raises `BadRequest` for a bad grammar."""
        self._matcher = _compiled(tokenizer, grammar).deep_copy()
        self._shared = min(tokenizer.vocab_size, num_vocab)
        self.words = np.zeros((tokenizer.vocab_size + 31) // 32, np.uint32)
        self._num_vocab = num_vocab
        self._fresh = self._counted = False
        self._few: NDArray[np.intp] | None = None
        self.finished = self._matcher.is_stopped()

    def find(self) -> None:
        """Find what may come next.  Raises `BadRequest` where the grammar is too complex."""
        if not self._fresh:
            self._matcher.unsafe_compute_mask_ptr(self.words.ctypes.data, self.words.nbytes)
            self._fresh, self._counted = True, False
        self._check()

    def allowed(self) -> NDArray[np.bool_]:
        """Which token may come next, over `num_vocab`; only end tokens when finished.

        Raises as `find` does.
        """
        self.find()
        mask = np.zeros(self._num_vocab, np.bool_)
        mask[: self._shared] = self._bits()
        return mask

    def few(self) -> NDArray[np.intp] | None:
        """The same as token ids where they are few, else None.  Raises as `find` does."""
        self.find()
        if not self._counted:
            few = _FEW * int(np.bitwise_count(self.words).sum()) <= self._shared
            self._few, self._counted = np.flatnonzero(self._bits()) if few else None, True
        return self._few

    def allows(self, token: int) -> bool:
        """Whether a token may come next; all are found only where it ends the answer or may not.

        Raises as `find` does.
        """
        known = token < self._shared and self._matcher.validate_tokens([token])
        return bool(known) or len(self.among(np.array([token]))) > 0

    def among(self, tokens: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of some tokens that may come next.  Raises as `find` does."""
        self.find()
        known = tokens[tokens < self._shared]
        bits = self.words[known >> 5] >> (known & 31).astype(np.uint32) & 1
        kept: NDArray[np.intp] = known[bits.astype(np.bool_)]
        return kept

    def _bits(self) -> NDArray[np.bool_]:
        bits = np.unpackbits(self.words.view(np.uint8), bitorder="little")
        return bits[: self._shared].view(np.bool_)  # numpy searches bytes 30 times as slowly

    def consume(self, token: int) -> None:
        """Go on by an allowed token that is not an end token.  Raises as `find` does."""
        self._fresh = False
        self._matcher.consume_token(token)
        self._check()
        self.finished = self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = first_words(self._matcher.get_error())
            # It is the grammar that asks too much: another one of the client's will do.
            raise BadRequest(f"the answer's grammar failed: {reason}")


@lru_cache(maxsize=_MOST_KEPT)
def _compiled(tokenizer: LLTokenizer, grammar: str) -> LLMatcher:
    matcher = LLMatcher(tokenizer, _spelled(tokenizer, grammar), log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise BadRequest(f"invalid grammar: {first_words(matcher.get_error())}")
    return matcher


def _spelled(tokenizer: LLTokenizer, grammar: str) -> str:
    ruled = _UNTIL.sub(lambda found: _rule(tokenizer, *json.loads(found[1])), grammar)
    return _TAG.sub(lambda found: _spell(tokenizer, json.loads(found[1])), ruled)


def _rule(tokenizer: LLTokenizer, name: str, matching: str, text: str) -> str:
    """A text ends lazily; before a special token, which is in no text, it need not."""
    special = _SPECIAL.search(_spell(tokenizer, text))
    if special is None:
        return f"{name}[suffix={json.dumps(text)}]: {matching}"
    return f"{name}: {matching} {special[1]}"


def _spell(tokenizer: LLTokenizer, text: str) -> str:
    """Terms of Lark for a text: llguidance does not match special tokens by their texts."""
    terms = []
    for token in tokenizer.tokenize_str(text, parse_special=True):
        if tokenizer.is_special_token(token):
            # Cut out of the text, because some tokenizers put a space before the rest.
            before, _, text = text.partition(tokenizer.decode_str([token]))
            terms += [before and json.dumps(before), f"<[{token}]>"]
    return " ".join(filter(None, [*terms, text and json.dumps(text)]))

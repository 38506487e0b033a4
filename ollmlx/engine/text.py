"""Bytes of tokens in, printable text out: characters are never split, and stop texts never seen.

Not a tokenizer: what a token's bytes are, the backend knows.
"""

import codecs
from collections.abc import Sequence


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop` without being all of it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0


class TextStream:
    """The text of one answer as it grows."""

    stopped: bool
    """Whether a stop text was completed; what is pushed after that is dropped."""

    def __init__(self, stop: Sequence[str]) -> None:
        self.stopped = False
        self._stop = tuple(text for text in stop if text)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""

    def push(self, piece: bytes) -> str:
        """The text that may be shown now; of a completed stop text, only what stands before it."""
        if self.stopped:
            return ""
        text = self._held + self._decode(piece)
        found = [at for at in map(text.find, self._stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        shown = len(text) - max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[shown:]
        return text[:shown]

    def flush(self) -> str:
        """At the end: what was held back, a cut character as U+FFFD; after a stop, nothing."""
        if self.stopped:
            return ""
        text, self._held = self._held + self._decode(b"", True), ""
        return text

"""A model's text as thoughts and answer, piece by piece as it comes.

Pieces may be cut anywhere: a tag that has only begun is kept back until it is whole or is not one.
Source: Ollama's `thinking/parser.go` as of 2026-08.
"""

from enum import Enum, auto


def held_back(text: str, tag: str) -> int:
    """Length of the longest end of `text` that `tag` begins with, the whole tag excluded."""
    for length in range(min(len(text), len(tag) - 1), 0, -1):
        if tag.startswith(text[-length:]):
            return length
    return 0


def answer_of(text: str) -> str:
    """A finished text without the thoughts at its start."""
    return ThinkingSplitter("<think>", "</think>", started=False).push(text)[1]


class _State(Enum):
    OPENING = auto()
    """Nothing but white space, or the beginning of the opening tag, has come."""
    THOUGHTS_START = auto()
    """White space after the opening tag."""
    THOUGHTS = auto()
    ANSWER_START = auto()
    """White space after the closing tag."""
    ANSWER = auto()


class ThinkingSplitter:
    """Thoughts between the tags at the start of a text; `started`: the prompt has opened them.

    A text that begins with anything else is all answer.  Tags after the thoughts are literal.
    """

    def __init__(self, opening: str, closing: str, started: bool) -> None:
        self.opening = opening.strip()
        self.closing = closing.strip()
        self._started = started
        self._state = _State.THOUGHTS_START if started else _State.OPENING
        self._kept = ""

    @property
    def answering(self) -> bool:
        """Whether the thoughts are over, or never were."""
        return self._state in (_State.ANSWER_START, _State.ANSWER)

    def closed(self, written: str) -> str:
        """The thoughts in all that was pushed, as the prompt of an answer: ended if they are not,
        and nothing where the text has none.
        """
        thoughts, found, rest = written.partition(self.closing)
        if found:
            gap = rest[: len(rest) - len(rest.lstrip())]
            return thoughts + found + (gap or "\n\n")
        if self.answering:
            return ""
        opened = self._started or self.opening in thoughts
        begun = thoughts[: len(thoughts) - held_back(thoughts, self.closing)]
        return f"{begun.rstrip() if opened else self.opening}\n{self.closing}\n\n"

    def push(self, text: str) -> tuple[str, str]:
        """Thoughts and answer that `text` completes."""
        if self._state is _State.ANSWER:
            return "", text
        self._kept += text
        thoughts = self._thoughts() if self._opened() else ""
        return thoughts, self._answer()

    def finish(self) -> tuple[str, str]:
        """What is left at the end: nothing, for a tag that has only begun is dropped."""
        self._kept = ""
        return "", ""

    def _opened(self) -> bool:
        if self._state is not _State.OPENING:
            return not self.answering
        start = self._kept.lstrip()
        if start.startswith(self.opening):
            self._kept = start[len(self.opening) :]
            self._state = _State.THOUGHTS_START
        elif not self.opening.startswith(start):
            self._state = _State.ANSWER
        return self._state is _State.THOUGHTS_START

    def _thoughts(self) -> str:
        if self._state is _State.THOUGHTS_START:
            self._kept = self._kept.lstrip()
            if not self._kept:
                return ""
            self._state = _State.THOUGHTS
        thoughts, found, rest = self._kept.partition(self.closing)
        if found:
            self._state, self._kept = _State.ANSWER_START, rest
            return thoughts
        end = len(thoughts) - held_back(thoughts, self.closing)
        self._kept = thoughts[end:]
        return thoughts[:end]

    def _answer(self) -> str:
        if self._state is _State.ANSWER_START:
            self._kept = self._kept.lstrip()
            if self._kept:
                self._state = _State.ANSWER
        if self._state is not _State.ANSWER:
            return ""
        answer, self._kept = self._kept, ""
        return answer

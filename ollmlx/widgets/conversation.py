"""A conversation with one model, or with two side by side, as values."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ollmlx.markdown import in_dollars, inert

_NANOSECONDS = 1e9


@dataclass
class Reply:
    """What one model said to one question."""

    model: str
    text: str = ""
    thinking: str = ""
    done_reason: str = ""
    """`stop`, `length`, … of the API, or `stopped` by the user; empty while it is written."""
    error: str = ""
    tokens: int = 0
    tokens_per_second: float = 0.0

    def end(self, reason: str, tokens: int | None = None, nanoseconds: int | None = None) -> None:
        self.done_reason = reason
        self.tokens = tokens or self.tokens
        if tokens and nanoseconds:
            self.tokens_per_second = tokens * _NANOSECONDS / nanoseconds


@dataclass
class Turn:
    question: str
    images: list[str] = field(default_factory=list)
    """Base64."""
    replies: list[Reply] = field(default_factory=list)
    """One for each model that was asked."""

    @property
    def shown(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Conversation:
    system: str = ""
    turns: list[Turn] = field(default_factory=list)
    cleared: list[Turn] = field(default_factory=list)
    """Turns that `restore` brings back, until something else is said."""

    def say(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.cleared = []

    def clear(self) -> None:
        self.turns, self.cleared = [], self.turns or self.cleared

    def restore(self) -> None:
        self.turns, self.cleared = self.turns or self.cleared, []

    def messages(self, side: int = 0) -> list[dict[str, Any]]:
        """What the model on a side has seen and said, as /api/chat takes it.

        A side that was not there yet has heard what the first one said.  A question that got no
        answer is left out: many templates take nothing but turns.
        """
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for turn in self.turns:
            reply = turn.replies[min(side, len(turn.replies) - 1)] if turn.replies else None
            if reply and not reply.text:
                continue
            question: dict[str, Any] = {"role": "user", "content": turn.question}
            messages.append(question | ({"images": turn.images} if turn.images else {}))
            if reply:
                messages.append({"role": "assistant", "content": reply.text})
        return messages

    def markdown(self) -> str:
        """Nothing in it acts, whatever was said."""
        parts = [f"**System prompt**\n\n{inert(self.system)}"] if self.system else []
        for turn in self.turns:
            count = len(turn.images)
            pictures = f" *({count} image{'' if count == 1 else 's'})*" if count else ""
            question = inert(turn.question).split("\n")
            parts.append("\n".join(f"> {line}" for line in question) + pictures)
            parts += [f"**{inert(reply.model)}**\n\n{_said(reply)}" for reply in turn.replies]
        return in_dollars("\n\n".join(parts))


def _said(reply: Reply) -> str:
    """An answer that broke off is kept as far as it came."""
    end = "(stopped)" if reply.done_reason == "stopped" else reply.error
    return "\n\n".join(
        [*([inert(reply.text)] if reply.text else []), *([f"*{inert(end)}*"] if end else [])]
    )

"""`ollmlx.TokenView`: how sure a model was of every token, and what else it thought of."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import traitlets
from ollama import ChatResponse, GenerateResponse

from ollmlx.client import Client, check_options, default_model
from ollmlx.errors import OllmlxError
from ollmlx.markdown import inert
from ollmlx.widgets import modules
from ollmlx.widgets.widget import Said, Widget

ALTERNATIVES = 5
_LISTED = 20
"""Tokens in the text for pages without widgets."""


class NoLogprobs(OllmlxError):
    """An answer that was not asked for with `logprobs=True`."""


class TokenView(Widget):
    """Of a prompt, which a model answers now; or of an answer that has log-probabilities.

    `options` are those of the API; `alternatives` is how many other tokens are asked for at each
    place, at most 20.  Raises `NoLogprobs`, `UnknownOption`, and what a chat raises.
    """

    _esm, _css = modules.script("tokens.js"), modules.style("tokens.css")
    tokens: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        of: str | ChatResponse | GenerateResponse,
        *,
        model: str = "",
        alternatives: int = ALTERNATIVES,
        options: Mapping[str, Any] | None = None,
        host: str | None = None,
    ) -> None:
        super().__init__()
        check_options(options)
        if isinstance(of, str):
            of = _asked(of, model, alternatives, dict(options or {}), host)
        if not of.logprobs:
            raise NoLogprobs("the answer has no log-probabilities: ask with logprobs=True")
        self.tokens = [_token(entry) for entry in of.logprobs]

    async def answer(self, said: Said) -> None:
        """The page has all there is, and asks for nothing."""

    def markdown(self) -> str:
        """The text, and the tokens that the model was least sure of."""
        text = "".join(token["text"] for token in self.tokens)
        unsure = sorted(self.tokens, key=lambda token: float(token["probability"]))[:_LISTED]
        rows = [f"| {_code(t['text'])} | {t['probability']:.1%} | {_others(t)} |" for t in unsure]
        table = "\n".join(["| Token | Probability | Others |", "|---|--:|---|", *rows])
        return f"{inert(text)}\n\n{inert(table)}"


def _asked(
    prompt: str, model: str, alternatives: int, options: dict[str, Any], host: str | None
) -> ChatResponse:
    with Client(host) as client:
        answer: ChatResponse = client.chat(
            model or default_model(client),
            [{"role": "user", "content": prompt}],
            logprobs=True,
            top_logprobs=alternatives,
            options=options,
        )
    return answer


def _token(entry: Any) -> dict[str, Any]:
    others: Iterable[Any] = entry.top_logprobs or ()
    return {**_likely(entry), "alternatives": [_likely(other) for other in others]}


def _likely(entry: Any) -> dict[str, Any]:
    return {"text": entry.token, "probability": math.exp(entry.logprob)}


def _others(token: Mapping[str, Any]) -> str:
    others = [other for other in token["alternatives"] if other["text"] != token["text"]]
    return ", ".join(f"{_code(other['text'])} {other['probability']:.1%}" for other in others)


def _code(text: str) -> str:
    """A token as code in a table, whatever characters it has."""
    shown = text.replace("\n", "⏎").replace("`", "ˋ").replace("|", "∣")  # noqa: RUF001  # look-alikes
    return f"`{shown}`"

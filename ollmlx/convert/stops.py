"""The tokens at which an answer ends: those that llama.cpp takes for an end of generation.

A file names few of them; the others llama.cpp knows by their spelling.
Source: `llama-vocab.cpp`, as in llama-cpp-python 0.3.36.
"""

from collections.abc import Collection

from ollmlx.convert.vocabulary import Vocabulary

ENDS = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "[e~[",
}

INFILLING = {
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}
"""Roles of code models: one token each, named by the file or else found by its spelling."""


def stop_ids(vocabulary: Vocabulary) -> list[int]:
    """Ascending."""
    named = {vocabulary.token_id(role) for role in ("eos", "eot", "eom")}
    known = {vocabulary.ids[token] for token in spelled_ends(vocabulary.ids.keys())}
    infilling = {_infilling(vocabulary, role) for role in INFILLING}
    return sorted(number for number in named | known | infilling if number is not None)


def spelled_ends(tokens: Collection[str]) -> set[str]:
    """Those of `ENDS` that end answers in a vocabulary that has `tokens`."""
    ends = {token for token in ENDS if token in tokens}
    if {"<|return|>", "<|call|>"} <= ends or (
        "<|flush|>" in ends and not ends.isdisjoint({"<|call|>", "<|calls|>"})
    ):
        # Harmony and Solar: `<|end|>` ends a message, of which an answer has several.
        ends.discard("<|end|>")
    if "<|tool_response>" in ends:
        ends.discard("</s>")  # Gemma 4 has it as text.
    return ends


def _infilling(vocabulary: Vocabulary, role: str) -> int | None:
    if (number := vocabulary.token_id(role)) is not None:
        return number
    spelled = (token for token in INFILLING[role] if token in vocabulary.ids)
    return next((vocabulary.ids[token] for token in spelled), None)

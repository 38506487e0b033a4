"""Which texts end an answer, told by the markers that a Jinja chat template writes.

For weights that no manifest describes.  Families that announce turns in prose (`User:`) are not
among them: such a stop would cut ordinary answers.
Source: the `template` folder of https://github.com/ollama/ollama.
"""

_INSTRUCTED = ("[INST]", "[/INST]")
_CHATML = ("<|im_start|>", "<|im_end|>")
_LLAMA = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_TURNS = ("<start_of_turn>", "<end_of_turn>")
_COHERE = ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>")
_ALFRED = ("<start_system>", "<end_message>", "<start_user>", "<start_assistant>")
_ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
STOPS: dict[tuple[str, ...], tuple[str, ...]] = {
    _CHATML: _CHATML,
    (_LLAMA[0], _LLAMA[2]): _LLAMA,
    (_TURNS[0], "<start_of_image>"): _TURNS[1:],
    _TURNS: _TURNS,
    _COHERE: _COHERE,
    ("<|user|>", "<|end|>"): ("<|end|>", *_ROLES),
    ("<|user|>", "eos_token"): (_ROLES[0], "</s>", *_ROLES[1:]),
    (_INSTRUCTED[0], "<<SYS>>"): (*_INSTRUCTED, "<<SYS>>", "<</SYS>>"),
    _INSTRUCTED: _INSTRUCTED,
    ("GPT4 Correct", "<|end_of_turn|>"): ("<|end_of_turn|>",),
    ("<start_user>", "<end_message>"): _ALFRED,
}
"""Markers, all of which are in a template of the family, and its stops; the first that fits."""


def stop_texts(chat_template: str) -> list[str]:
    """Empty for a template of an unknown family."""
    fits = (
        stops
        for markers, stops in STOPS.items()
        if all(marker in chat_template for marker in markers)
    )
    return list(next(fits, ()))

"""Stop texts that belong to a chat template, for weights that come without a list of their own.

Ollama keeps such a list for each template it recognises when it imports a GGUF; here a family is
recognised by the markers its templates write.  Only markers that no prose contains are in the
table: a stop such as `User:` would cut ordinary answers.
Source: the `template` folder of https://github.com/ollama/ollama.
"""

_FAMILIES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("<|im_start|>", "<|im_end|>"), ("<|im_start|>", "<|im_end|>")),
    (
        ("<|start_header_id|>", "<|eot_id|>"),
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    (("<start_of_turn>", "<start_of_image>"), ("<end_of_turn>",)),
    (("<start_of_turn>", "<end_of_turn>"), ("<start_of_turn>", "<end_of_turn>")),
    (
        ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    ),
    (("<|user|>", "<|end|>"), ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")),
    (("<|user|>", "eos_token"), ("<|system|>", "</s>", "<|user|>", "<|assistant|>")),
    (("[INST]", "<<SYS>>"), ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")),
    (("[INST]", "[/INST]"), ("[INST]", "[/INST]")),
    (("<|end_of_turn|>",), ("<|end_of_turn|>",)),
    (("<start_user>", "<end_message>"), ("<start_user>", "<end_message>", "<start_assistant>")),
)
"""Markers that a Jinja template must all contain → stop texts.  The first family that fits wins."""


def stop_texts(chat_template: str) -> list[str]:
    """Stop texts for a Jinja chat template; none for one of an unknown family."""
    for markers, stops in _FAMILIES:
        if all(marker in chat_template for marker in markers):
            return list(stops)
    return []

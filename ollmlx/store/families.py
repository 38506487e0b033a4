"""Families of chat templates: how a conversation is written, and which texts end an answer.

A family is recognised by the markers that a Jinja template of it writes.  Ollama compares whole
templates with a list of its own when it imports a GGUF; the names and the stops are those of that
list, so that a model made here and one made there are prompted alike.
Source: the `template` folder of https://github.com/ollama/ollama.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ollmlx.store import capabilities

Around = tuple[str, str]
"""What stands before and behind a message."""

_LONGEST = 4096
"""Characters of a Jinja template that does no more than write turns."""


@dataclass(frozen=True)
class Family:
    name: str
    markers: tuple[str, ...]
    """All of them are in a Jinja template of the family."""
    stops: tuple[str, ...]
    user: Around
    assistant: Around
    opening: str
    """What makes the model answer."""
    system: Around | None = None
    """Around a system message; without it, they go into the first message of the user."""
    within: Around = ("", "\n\n")
    """Around system messages that go into another."""
    any_role: Around | None = None
    """Around a message of any role, where all are written alike."""
    prose: bool = False
    """Whether ordinary answers may contain the stops."""

    @property
    def template(self) -> str:
        """The family as a Go template."""
        if self.any_role:
            turn = f"{self.any_role[0]}{{{{ .Content }}}}{self.any_role[1]}"
            return f"{{{{ range .Messages }}}}{turn}{{{{ end }}}}{self.opening}"
        lead = f"{{{{ if $system }}}}{self.within[0]}{{{{ $system }}}}{self.within[1]}"
        folded = lead + '{{ $system = "" }}{{ end }}'
        user = f"{self.user[0]}{'' if self.system else folded}{{{{ .Content }}}}{self.user[1]}"
        turns = [("user", user), ("assistant", "{{ .Content }}".join(self.assistant))]
        if self.system:
            turns.insert(0, ("system", "{{ .Content }}".join(self.system)))
        begin = "" if self.system else "{{ $system := .System }}"
        each = "{{ else ".join(f'if eq .Role "{role}" }}}}{text}' for role, text in turns)
        return (
            f"{begin}{{{{ range .Messages }}}}{{{{ {each}{{{{ end }}}}{{{{ end }}}}{self.opening}"
        )


def _tagged(name: str, markers: Sequence[str], stops: Sequence[str], turn: Around) -> Family:
    """A family that writes every role the same way, with `*` for its name."""
    user, assistant, any_role = (
        (turn[0].replace("*", role), turn[1]) for role in ("user", "assistant", "{{ .Role }}")
    )
    return Family(
        name,
        tuple(markers),
        tuple(stops),
        user,
        assistant,
        opening=assistant[0],
        any_role=any_role,
    )


def _titled(name: str, titles: Sequence[str], stops: Sequence[str], around: Around) -> Family:
    """A family that announces turns in prose: titles of system, user and assistant."""
    system, user, assistant = ((title + around[0], around[1]) for title in titles)
    opening = assistant[0].rstrip(" ")
    shown = tuple(title for title in titles if title)
    return Family(
        name, shown, tuple(stops), user, assistant, opening, system if titles[0] else None,
        prose=True,
    )  # fmt: skip


def _gemma(name: str, markers: Sequence[str], stops: Sequence[str]) -> Family:
    return Family(
        name,
        tuple(markers),
        tuple(stops),
        user=("<start_of_turn>user\n", "<end_of_turn>\n"),
        assistant=("<start_of_turn>model\n", "<end_of_turn>\n"),
        opening="<start_of_turn>model\n",
    )


_INSTRUCTED = ("[INST]", "[/INST]")
_TURNS = ("<start_of_turn>", "<end_of_turn>")
_COHERE = ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>")
_ZEPHYR = ("<|system|>", "</s>", "<|user|>", "<|assistant|>")
_PHI = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
FAMILIES = (
    _tagged(
        "chatml",
        ("<|im_start|>", "<|im_end|>"),
        ("<|im_start|>", "<|im_end|>"),
        ("<|im_start|>*\n", "<|im_end|>\n"),
    ),
    _tagged(
        "llama3-instruct",
        ("<|start_header_id|>", "<|eot_id|>"),
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ("<|start_header_id|>*<|end_header_id|>\n\n", "<|eot_id|>"),
    ),
    _gemma("gemma3-instruct", ("<start_of_turn>", "<start_of_image>"), _TURNS[1:]),
    _gemma("gemma-instruct", _TURNS, _TURNS),
    Family(
        "command-r",
        _COHERE,
        _COHERE,
        system=(f"{_COHERE[0]}<|SYSTEM_TOKEN|>", _COHERE[1]),
        user=(f"{_COHERE[0]}<|USER_TOKEN|>", _COHERE[1]),
        assistant=(f"{_COHERE[0]}<|CHATBOT_TOKEN|>", _COHERE[1]),
        opening=f"{_COHERE[0]}<|CHATBOT_TOKEN|>",
    ),
    _tagged("phi-3", ("<|user|>", "<|end|>"), _PHI, ("<|*|>\n", "<|end|>\n")),
    _tagged("zephyr", ("<|user|>", "eos_token"), _ZEPHYR, ("<|*|>\n", "</s>\n")),
    Family(
        "llama2-chat",
        ("[INST]", "<<SYS>>"),
        (*_INSTRUCTED, "<<SYS>>", "<</SYS>>"),
        user=("[INST] ", " [/INST]"),
        assistant=(" ", " </s><s>"),
        opening="",
        within=("<<SYS>>\n", "\n<</SYS>>\n\n"),
    ),
    Family(
        "mistral-instruct",
        _INSTRUCTED,
        _INSTRUCTED,
        user=("[INST] ", " [/INST]"),
        assistant=(" ", "</s>"),
        opening="",
    ),
    Family(
        "openchat",
        ("GPT4 Correct", "<|end_of_turn|>"),
        ("<|end_of_turn|>",),
        system=("GPT4 Correct System: ", "<|end_of_turn|>"),
        user=("GPT4 Correct User: ", "<|end_of_turn|>"),
        assistant=("GPT4 Correct Assistant: ", "<|end_of_turn|>"),
        opening="GPT4 Correct Assistant:",
    ),
    _tagged(
        "alfred",
        ("<start_user>", "<end_message>"),
        ("<start_system>", "<end_message>", "<start_user>", "<start_assistant>"),
        ("<start_*>", "<end_message>"),
    ),
    Family(
        "codellama-70b-instruct",
        ("Source:", "Destination:", "<step>"),
        ("Source:", "Destination:", "<step>"),
        system=("Source: system\n\n ", " <step> "),
        user=("Source: user\n\n ", " <step> "),
        assistant=("Source: assistant\n\n ", " <step> "),
        opening="Source: assistant\nDestination: user\n\n ",
        prose=True,
    ),
    _titled(
        "solar-instruct",
        ("### System:", "### User:", "### Assistant:"),
        ("### System:", "### User:", "### Assistant"),
        ("\n", "\n\n"),
    ),
    _titled(
        "alpaca",
        ("", "### Instruction:", "### Response:"),
        ("### Instruction:", "### Response"),
        ("\n", "\n\n"),
    ),
    _titled(
        "starcoder2-instruct",
        ("", "### Instruction", "### Response"),
        ("### Instruction", "### Response", "<|endoftext|>"),
        ("\n", "\n\n"),
    ),
    _titled(
        "magicoder",
        ("", "@@ Instruction", "@@ Response"),
        ("@@ Instruction", "@@ Response"),
        ("\n", "\n\n"),
    ),
    _titled("vicuna", ("", "USER:", "ASSISTANT:"), ("USER:", "ASSISTANT:"), (" ", "\n")),
    _titled(
        "granite-instruct",
        ("System:", "Question:", "Answer:"),
        ("System:", "Question:", "Answer:"),
        ("\n", "\n\n"),
    ),
    _titled(
        "falcon-instruct", ("System:", "User:", "Falcon:"), ("User:", "Assistant:"), (" ", "\n")
    ),
    _titled(
        "chatqa",
        ("System:", "User:", "Assistant:"),
        ("System:", "User:", "Assistant:", "<|begin_of_text|>"),
        (" ", "\n\n"),
    ),
)
"""The first family that fits wins."""


def stop_texts(chat_template: str) -> list[str]:
    """Stops for a Jinja template; none for one of an unknown family, or one whose stops are prose.

    A stop such as `User:` would cut ordinary answers.
    """
    found = _family(chat_template)
    return list(found.stops) if found and not found.prose else []


def detected(chat_template: str) -> Family | None:
    """The family that says all a Jinja template says; None for one that can do more, or another."""
    if len(chat_template) > _LONGEST or any(capabilities.of_jinja(chat_template)):
        return None
    return _family(chat_template)


def _family(chat_template: str) -> Family | None:
    fits = (f for f in FAMILIES if all(marker in chat_template for marker in f.markers))
    return next(fits, None)

"""The ways models write tool calls, each with the tags that tell it in a chat template."""

import re
from dataclasses import dataclass

from ollmlx.prompt import callreading as reading
from ollmlx.prompt import callwriting as writing
from ollmlx.prompt.callreading import Reader, deepseek
from ollmlx.prompt.callwriting import Writer, json_object, tagged


@dataclass(frozen=True)
class Shape:
    """How several calls stand together."""

    first: str = ""
    between: str = ""
    last: str = ""
    in_one: bool = True
    """Inside one pair of tags; otherwise each has its own, with `between` around them."""


LIST = Shape("[", ", ", "]")
LINES = Shape(between="\n", in_one=False)


@dataclass(frozen=True)
class Syntax:
    name: str
    signs: tuple[str, ...]
    """Texts that are all in the templates of such models."""
    opening: str
    closing: str
    """Empty: the calls go on to the end of the text."""
    read: Reader
    write: Writer
    shape: Shape = LINES
    gap: str = ""
    """What models write after the opening tag, and before the closing one."""

    def marks(self, template: str) -> bool:
        return all(sign in template for sign in self.signs)


_CODER = tagged("<function={}>\n", "<parameter={}>\n", "\n</parameter>\n", "</function>")
_GLM = tagged("{}\n", "<arg_key>{}</arg_key>\n<arg_value>", "</arg_value>\n", "")
_LONGCAT = tagged(
    "{}\n",
    "<longcat_arg_key>{}</longcat_arg_key>\n<longcat_arg_value>",
    "</longcat_arg_value>\n",
    "",
)
_MINIMAX = tagged('<invoke name="{}">\n', '<parameter name="{}">', "</parameter>\n", "</invoke>")
_ATEM = tagged(
    '<atem:invoke name="{}">\n',
    '<atem:parameter name="{}">',
    "</atem:parameter>\n",
    "</atem:invoke>",
)
_MINICPM = tagged('"{}">', '<param name="{}">', "</param>", "")
_PLAIN = json_object()
_LINE = json_object(one_line=True)
_DSML = "\uff5cDSML\uff5c"
_DEEPSEEK = tagged(
    f'<{_DSML}invoke name="{{}}">\n',
    f'<{_DSML}parameter name="{{}}" string="{{text}}">',
    f"</{_DSML}parameter>\n",
    f"</{_DSML}invoke>",
)
_R1 = "```json"

# The order matters: the first whose signs are all there is taken.
SYNTAXES = (
    Syntax(
        "minimax",
        ("<minimax:tool_call>",),
        "<minimax:tool_call>",
        "</minimax:tool_call>",
        reading.invoked(),
        _MINIMAX,
        Shape(between="\n"),
        "\n",
    ),
    Syntax(
        "gemma4",
        ("<|tool_call>", "<tool_call|>"),
        "<|tool_call>",
        "<tool_call|>",
        reading.loose('<|"|>'),
        writing.loose('<|"|>'),
        Shape(in_one=False),
    ),
    Syntax(
        "functiongemma",
        ("<start_function_call>",),
        "<start_function_call>",
        "<end_function_call>",
        reading.loose("<escape>"),
        writing.loose("<escape>"),
        Shape(in_one=False),
    ),
    Syntax(
        "longcat",
        ("<longcat_tool_call>",),
        "<longcat_tool_call>",
        "</longcat_tool_call>",
        reading.keyed("longcat_"),
        _LONGCAT,
    ),
    Syntax(
        "glm", ("<arg_key>", "<tool_call>"), "<tool_call>", "</tool_call>", reading.keyed(), _GLM
    ),
    Syntax(
        "lfm2",
        ("<|tool_call_start|>",),
        "<|tool_call_start|>",
        "<|tool_call_end|>",
        reading.read_python,
        writing.write_python,
        LIST,
    ),
    Syntax(
        "lfm2-listed",
        ("<|tool_list_start|>",),
        "<|tool_call_start|>",
        "<|tool_call_end|>",
        reading.read_python,
        writing.write_python,
        LIST,
    ),
    Syntax(
        "olmo3",
        ("<function_calls>",),
        "<function_calls>",
        "</function_calls>",
        reading.read_python_lines,
        writing.write_python,
        Shape(between="\n"),
    ),
    Syntax(
        "seed",
        ("<seed:tool_call>",),
        "<seed:tool_call>",
        "</seed:tool_call>",
        reading.read_xml,
        _CODER,
        LINES,
        "\n",
    ),
    Syntax(
        "qwen3-coder",
        ("<tool_call>", "<function="),
        "<tool_call>",
        "</tool_call>",
        reading.read_xml,
        _CODER,
        LINES,
        "\n",
    ),
    Syntax(
        "kimi",
        ("<|tool_calls_section_begin|>",),
        "<|tool_calls_section_begin|>",
        "<|tool_calls_section_end|>",
        reading.read_kimi,
        writing.write_kimi,
        Shape(),
    ),
    Syntax(
        "kimi3",
        ("<|open|>", "<|sep|>", "<|close|>"),
        "<|open|>tools<|sep|>",
        "<|close|>tools<|sep|>",
        reading.read_kimi_blocks,
        writing.write_kimi_block,
        Shape(),
    ),
    Syntax(
        "minicpm",
        ('<function name="', '<param name="'),
        "<function name=",
        "</function>",
        reading.read_named_function,
        _MINICPM,
    ),
    Syntax(
        "atem",
        ("<atem:function_calls>",),
        "<atem:function_calls>",
        "</atem:function_calls>",
        reading.invoked("atem:"),
        _ATEM,
        Shape(between="\n"),
        "\n",
    ),
    Syntax(
        "deepseek-v3.2",
        (_DSML, "function_calls"),
        f"<{_DSML}function_calls>",
        f"</{_DSML}function_calls>",
        reading.invoked(_DSML),
        _DEEPSEEK,
        Shape(between="\n"),
        "\n",
    ),
    Syntax(
        "deepseek-v4",
        (_DSML, "tool_calls"),
        f"<{_DSML}tool_calls>",
        f"</{_DSML}tool_calls>",
        reading.invoked(_DSML),
        _DEEPSEEK,
        Shape(between="\n"),
        "\n",
    ),
    Syntax(
        "deepseek-r1",
        (deepseek("calls▁begin"), _R1),
        deepseek("calls▁begin"),
        deepseek("calls▁end"),
        reading.read_deepseek,
        writing.write_deepseek_r1,
        Shape(between="\n"),
    ),
    Syntax(
        "deepseek",
        (deepseek("calls▁begin"),),
        deepseek("calls▁begin"),
        deepseek("calls▁end"),
        reading.read_deepseek,
        writing.write_deepseek,
        Shape(),
    ),
    Syntax(
        "cohere",
        ("<|START_ACTION|>",),
        "<|START_ACTION|>",
        "<|END_ACTION|>",
        reading.read_cohere,
        json_object("tool_name", "parameters", numbered="tool_call_id"),
        Shape("[\n", ",\n", "\n]"),
    ),
    Syntax(
        "mistral-named",
        ("[TOOL_CALLS]", "[ARGS]"),
        "[TOOL_CALLS]",
        "",
        reading.read_mistral,
        writing.write_mistral,
        Shape(in_one=False),
    ),
    Syntax("mistral", ("[TOOL_CALLS]",), "[TOOL_CALLS]", "", reading.read_mistral, _PLAIN, LIST),
    Syntax(
        "phi4",
        ("<|tool_call|>", "<|/tool_call|>"),
        "<|tool_call|>",
        "<|/tool_call|>",
        reading.read_json,
        _PLAIN,
        LIST,
    ),
    Syntax("granite", ("<|tool_call|>",), "<|tool_call|>", "", reading.read_json, _PLAIN, LIST),
    Syntax(
        "apriel",
        ("<tool_calls>[",),
        "<tool_calls>",
        "</tool_calls>",
        reading.read_json_lines,
        _PLAIN,
        LIST,
    ),
    Syntax(
        "minimax-m1",
        ("<tool_calls>",),
        "<tool_calls>",
        "</tool_calls>",
        reading.read_json_lines,
        _LINE,
        Shape(between="\n"),
        "\n",
    ),
    Syntax(
        "apertus",
        ("<|tools_prefix|>",),
        "<|tools_prefix|>",
        "<|tools_suffix|>",
        reading.read_apertus,
        writing.write_apertus,
        LIST,
    ),
    Syntax(
        "solar",
        ("<|tool_calls|>", "<|tool_call:begin|>"),
        "<|tool_calls|>",
        "<|calls|>",
        reading.read_solar,
        writing.write_solar,
        Shape(),
    ),
    Syntax(
        "nemotron", ("<TOOLCALL>",), "<TOOLCALL>", "</TOOLCALL>", reading.read_json, _PLAIN, LIST
    ),
    Syntax(
        "hermes",
        ("<tool_call>",),
        "<tool_call>",
        "</tool_call>",
        reading.read_json,
        _PLAIN,
        LINES,
        "\n",
    ),
)


def untagged(source: str, tag: str) -> Syntax:
    """How a model writes that only names a tool and gives JSON, after `tag` or from the start.

    With it goes `anycalls`, which reads far more than this.
    """
    named = re.search(r'"(arguments|parameters)"', source)
    older = named is not None and '"arguments"' not in source
    write = json_object(arguments="parameters") if older else _PLAIN
    if tag in ("{", "["):
        return Syntax("any", (), "", "", reading.read_json, write, LIST if tag == "[" else LINES)
    closings = (syntax.closing for syntax in SYNTAXES if syntax.opening == tag)
    return Syntax("any", (), tag, next(closings, ""), reading.read_json, write, LINES, "\n")

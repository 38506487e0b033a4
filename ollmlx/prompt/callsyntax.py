"""The ways models write tool calls, each with the tags that tell it in a chat template."""

import re
from dataclasses import dataclass, replace

from ollmlx.prompt import callreading as reading
from ollmlx.prompt import callwriting as writing
from ollmlx.prompt.callreading import HUNYUAN, MINIMAX, Reader, deepseek
from ollmlx.prompt.callwriting import Writer, json_object, tagged
from ollmlx.prompt.syntax import spelled


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
    answer: str = ""
    """What stands before content where every part of a reply is addressed to someone."""

    def marks(self, template: str) -> bool:
        return all(sign in spelled(template) for sign in self.signs)


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
_HUNYUAN = tagged(
    f"<tool_call{HUNYUAN}>{{}}<tool_sep{HUNYUAN}>\n",
    f"<arg_key{HUNYUAN}>{{}}</arg_key{HUNYUAN}>\n<arg_value{HUNYUAN}>",
    f"</arg_value{HUNYUAN}>\n",
    f"</tool_call{HUNYUAN}>",
)
_GIGACHAT = "<|message_sep|>\n\nfunction call<|role_sep|>\n"
_R1 = "```json"

_LFM2 = Syntax(
    "lfm2",
    ("<|tool_call_start|>",),
    "<|tool_call_start|>",
    "<|tool_call_end|>",
    reading.read_python,
    writing.write_python,
    LIST,
)

# The order matters: the first whose signs are all there is taken.
SYNTAXES = (
    Syntax(
        "minimax-m3",
        (MINIMAX, "<invoke name="),
        f"{MINIMAX}<tool_call>",
        f"{MINIMAX}</tool_call>",
        reading.read_elements,
        writing.write_elements,
        Shape(),
        "\n",
    ),
    Syntax(
        "hunyuan",
        (f"<tool_sep{HUNYUAN}>",),
        f"<tool_calls{HUNYUAN}>",
        f"</tool_calls{HUNYUAN}>",
        reading.read_hunyuan,
        _HUNYUAN,
        Shape(between="\n"),
        "\n",
    ),
    Syntax(
        "gigachat3.1",
        ("<|role_sep|>", "<|function_call|>"),
        "<|function_call|>",
        "",
        reading.read_after("<|function_call|>"),
        _PLAIN,
        Shape(in_one=False),
    ),
    Syntax(
        "gigachat3",
        ("<|role_sep|>", "<|message_sep|>", "function call"),
        _GIGACHAT,
        "",
        reading.read_after(_GIGACHAT),
        _PLAIN,
        Shape(in_one=False),
    ),
    Syntax(
        "functionary3.2",
        (">>>all",),
        "",
        "",
        reading.read_addressed,
        writing.write_addressed,
        Shape(between=">>>"),
        answer="all\n",
    ),
    Syntax(
        "functionary3.1",
        ("<function=", "<{start_tag}={function_name}>"),
        "<function=",
        "</function>",
        reading.read_function_object,
        writing.write_function_object,
        Shape(in_one=False),
    ),
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
    _LFM2,
    replace(_LFM2, name="lfm2.5", signs=("List of tools: [", "<|im_start|>")),
    replace(_LFM2, name="lfm2-listed", signs=("<|tool_list_start|>",)),
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

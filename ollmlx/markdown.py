"""A model's Markdown for pages that take it as the user's own: nothing in it acts, and its maths is
in the marks that notebooks know.

JupyterLab shows the Markdown of a cell that was run unsanitised, scripts included.  So HTML becomes
text, links lead to web pages and addresses of mail only, and pictures become links, as fetching one
tells somebody.

Readers of Markdown differ in what they take for code.  Whatever could act stands in code only where
none of them doubts it: in blocks that begin at the margin, after an empty line, with a language;
elsewhere it is written as entities, which are text wherever they are.
"""

import re

_ACTS = re.compile(r"<[A-Za-z/!?]|\]\(|\]:|!\[")
_FENCE = re.compile(
    r"(?P<before>(?:[ \t]*(?:>|[-*+]|\d{1,9}[.)]))*[ \t]*)"
    r"(?P<fence>`{3,}(?=[^`]*$)|~{3,})[ \t]*(?P<language>[\w+#.-]*)(?P<rest>.*)"
)
"""In quotes and lists, too: none that a reader sees may be overlooked."""
_PARTS = re.compile(
    r"\\[\\`]"
    r"|(?<!`)(?P<ticks>`{1,8})(?!`)(?P<code>[^\n]{1,2000}?)(?<!`)(?P=ticks)(?!`)"
    r"|<(?P<address>https?://[^\s<>]{1,2000})>"
    r"|</?(?:br|sub|sup) ?/?>"
    r"|(?P<html>\\?<)(?=[A-Za-z/!?])"
    r"|(?P<picture>!(?=\[))"
    r"|(?P<link>\]\()(?!\s*<?(?:https?://|mailto:))"
    r"|(?P<name>\]:)",
    re.IGNORECASE,
)

# Code and escapes are taken whole, so that nothing within them is changed; lengths are bounded, so
# that marks which nobody closes cost no more than their number.
_MATHS = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,})[^\n]*\n(?:.*?^ {0,3}(?P=fence)[`~]*[ \t]*$|.*)"
    r"|(?<!`)(?P<ticks>`{1,8})(?!`).{1,2000}?(?<!`)(?P=ticks)(?!`)"
    r"|\$\$(?P<display>.{1,1000}?)\$\$"
    r"|\$(?=\S)[^$\n]{1,300}(?<=\S)\$(?!\d)"
    r"|\\\((?P<inline>[^$]{1,300}?)\\\)"
    r"|\\\[(?P<square>[^$]{1,1000}?)\\\]"
    r"|(?P<dollar>\\?\$)"
    r"|\\.",
    re.MULTILINE | re.DOTALL,
)
_PRICE = "<span>&#36;</span>"
"""What JupyterLab does not take for maths: it typesets what lies between two of `\\$`, too."""


def inert(text: str) -> str:
    """The same text without anything that acts; a block of code that nobody closed is closed."""
    done: list[str] = []
    outside: list[str] = []
    lines = re.split(r"\r\n?|\n", text)
    at = 0
    while at < len(lines):
        if opened := _FENCE.match(lines[at]):
            end = _end(lines, at + 1, opened["fence"])
            done += [*_prose(outside), *_block(lines[at : end + 1], opened, end == len(lines))]
            outside, at = [], end
        else:
            outside.append(lines[at])
        at += 1
    return "\n".join([*done, *_prose(outside)])


def _end(lines: list[str], at: int, fence: str) -> int:
    """The line that closes a block, or the number of lines."""
    while at < len(lines):
        found = _FENCE.match(lines[at])
        closes = found and found["fence"].startswith(fence)
        if found and closes and not (found["language"] + found["rest"]).strip("`~ \t"):
            return at
        at += 1
    return at


def _block(lines: list[str], opened: re.Match[str], is_open: bool) -> list[str]:
    """A block of code: as it is where nothing in it acts, else in the form that nobody doubts."""
    inside = lines[1:] if is_open else lines[1:-1]
    if not _ACTS.search("\n".join([opened["rest"], *inside])):
        before = re.sub(r"[^\s>]", " ", opened["before"])
        return [*lines, before + opened["fence"]] if is_open else lines
    if any(map(_FENCE.match, inside)):
        return _prose(lines)
    margin = re.compile(rf"[ \t>]{{0,{len(opened['before'])}}}")
    code = [margin.sub("", line, count=1) for line in inside]
    return ["", f"```{opened['language'] or 'text'}", *code, "```", ""]


def _prose(lines: list[str]) -> list[str]:
    return [_PARTS.sub(_part, "\n".join(lines))] if lines else []


def _part(found: re.Match[str]) -> str:
    if code := found["code"]:
        return f"<code>{_entities(code)}</code>" if _ACTS.search(code) else found[0]
    if found["html"]:
        return "&lt;"
    if found["link"]:
        return r"]\("
    if found["name"]:
        return r"]\:"
    return "" if found["picture"] else found["address"] or found[0]


def _entities(text: str) -> str:
    """Marks of Markdown, of HTML and of maths as what they are nowhere."""
    return re.sub(r"[^\w\s,.=-]|_", lambda mark: f"&#{ord(mark[0])};", text)


def in_dollars(text: str) -> str:
    r"""`\(…\)` becomes `$…$`, `\[…\]` becomes `$$…$$`; dollars that begin no maths stay dollars.

    Whether one does is pandoc's rule, `tex_math_dollars` in its manual.
    """
    return _MATHS.sub(_in_dollars, text) if re.search(r"\$.*\$|\\[(\[]", text, re.DOTALL) else text


def _in_dollars(found: re.Match[str]) -> str:
    if inline := found["inline"]:
        return f"${_on_one_line(inline)}$"
    if display := found["display"] or found["square"]:
        return f"$${_on_one_line(display)}$$"
    return _PRICE if found["dollar"] else found[0]


def _on_one_line(formula: str) -> str:
    """As the marks of a quote or a list around it would become a part of it."""
    return formula.strip() if "%" in formula else " ".join(formula.split())

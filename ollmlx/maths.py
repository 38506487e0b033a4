"""Maths in a model's Markdown, in the marks that notebooks know."""

import re

# Code and escapes are taken whole, so that nothing within them is changed; lengths are bounded, so
# that marks which nobody closes cost no more than their number.
_MARKS = re.compile(
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


def in_dollars(text: str) -> str:
    r"""`\(…\)` becomes `$…$`, `\[…\]` becomes `$$…$$`; dollars that begin no maths stay dollars.

    Whether one does is pandoc's rule, `tex_math_dollars` in its manual.
    """
    return _MARKS.sub(_in_dollars, text) if re.search(r"\$.*\$|\\[(\[]", text, re.DOTALL) else text


def _in_dollars(found: re.Match[str]) -> str:
    if inline := found["inline"]:
        return f"${_on_one_line(inline)}$"
    if display := found["display"] or found["square"]:
        return f"$${_on_one_line(display)}$$"
    return _PRICE if found["dollar"] else found[0]


def _on_one_line(formula: str) -> str:
    """As the marks of a quote or a list around it would become a part of it."""
    return formula.strip() if "%" in formula else " ".join(formula.split())

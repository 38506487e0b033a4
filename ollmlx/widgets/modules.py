"""JavaScript modules of `front/` as the one text that a widget carries to the browser.

An ES module in a widget can import nothing: there is no address to import from.  So the modules
that it names are put before it, once each, and the words `import` and `export` go.
"""

import re
from pathlib import Path

FRONT = Path(__file__).parent / "front"
_IMPORT = re.compile(r'^import [^;]*? from "\./([\w.-]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


def script(name: str) -> str:
    """The module and all it needs.  Their top-level names must differ; a test sees to it."""
    return "\n".join(_texts(name, set()))


def style(name: str) -> str:
    """What all widgets share, and what this one has of its own."""
    own = FRONT / name
    return (FRONT / "shared.css").read_text("utf-8") + own.read_text("utf-8")


def _texts(name: str, seen: set[str]) -> list[str]:
    if name in seen:
        return []
    seen.add(name)
    text = (FRONT / name).read_text("utf-8")
    before = [part for needed in _IMPORT.findall(text) for part in _texts(needed, seen)]
    return [*before, _EXPORT.sub("", _IMPORT.sub("", text))]

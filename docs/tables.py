"""The tables of the documentation, made of the code they describe: `python docs/tables.py`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_ext.app import OllmlxApp
from ollmlx.api.routes import ROUTES
from ollmlx.cli.commands import shown
from ollmlx.convert.architectures import ARCHITECTURES
from ollmlx.store.places.shortnames import SHORT_NAMES

GENERATED = Path(__file__).parent / "generated"


def tables() -> dict[str, str]:
    """File name → text of every table."""
    traits = OllmlxApp.class_own_traits(config=True)
    engine = {name: trait for name, trait in traits.items() if "variable" in trait.metadata}
    return {
        "engine-settings.md": table(
            ("Variable", "Trait", "What it does"),
            (
                (f"`{trait.metadata['variable']}`", f"`{name}`", about(trait))
                for name, trait in engine.items()
            ),
        ),
        "extension-settings.md": table(
            ("Trait", "What it does"),
            ((f"`{name}`", about(trait)) for name, trait in traits.items() if name not in engine),
        ),
        "commands.md": table(
            ("Command", "What it does"),
            ((f"`{f'{c.name} {c.usage}'.strip()}`", c.help) for c in shown()),
        ),
        "routes.md": table(("Method", "Path"), ((r.method, f"`{r.path}`") for r in ROUTES)),
        "short-names.md": table(
            ("Short name", "Repository", "Parameters", "Download"),
            (
                (f"`{s.name}`", f"`{s.repository}`", s.parameters, f"{s.download} GB")
                for s in SHORT_NAMES
            ),
        ),
        "architectures.md": ", ".join(f"`{name}`" for name in sorted(ARCHITECTURES)) + "\n",
    }


def about(trait: Any) -> str:
    """A trait's help on one line, and its default where the help does not name a variable."""
    help_text = " ".join(trait.help.split()).replace("|", "\\|")
    if "variable" in trait.metadata or "efault" in help_text:
        return help_text
    return f"{help_text}  Default: `{trait.default_value_repr()}`."


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    GENERATED.mkdir(exist_ok=True)
    for name, text in tables().items():
        (GENERATED / name).write_text(text)
        sys.stdout.write(f"docs/generated/{name}\n")


if __name__ == "__main__":
    main()

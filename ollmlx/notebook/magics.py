"""The magics: `%%ollmlx` sends a cell to a model, `%ollmlx` looks after the models.

What does the work is imported by the first use: `%load_ext ollmlx` must not be felt.
"""

from pkgutil import resolve_name
from typing import Any

from IPython.core.magic import Magics, line_cell_magic, magics_class

from ollmlx.notebook import arguments
from ollmlx.notebook.session import Session

HELP = ("-h", "--help")


@magics_class
class OllmlxMagics(Magics):
    """`%ollmlx` and `%%ollmlx` of one kernel."""

    def __init__(self, *given: Any, **keywords: Any) -> None:
        super().__init__(*given, **keywords)
        assert self.shell is not None  # IPython makes it, for a shell
        self.session = Session(self.shell.user_ns)

    @line_cell_magic
    def ollmlx(self, line: str, cell: str | None = None) -> None:
        words = arguments.split(line)
        if cell is not None:
            self._cell(words, cell)
        elif not words or words[0] in HELP:
            self._command("help" if words else "status", [])
        else:
            self._command(words[0], words[1:])

    ollmlx.__doc__ = arguments.cell_help()

    def _cell(self, words: list[str], cell: str) -> None:
        if any(word in HELP for word in words):
            self._command("help", [])
            return
        from ollmlx.notebook.asking import ask
        from ollmlx.notebook.saying import told_briefly

        with told_briefly():
            ask(self.session, arguments.read_cell(words), cell)

    def _command(self, name: str, words: list[str]) -> None:
        command = arguments.find(name)
        if any(word in HELP for word in words):
            command, words = arguments.find("help"), [name]
        given = arguments.read_command(command, words)
        from ollmlx.notebook.saying import told_briefly

        with told_briefly():
            resolve_name(f"ollmlx.notebook.{command.does}")(self.session, given)

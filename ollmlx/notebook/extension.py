"""What `%load_ext ollmlx` puts into a shell, in milliseconds: an HTTP client comes with the first
use.
"""

from IPython.core.interactiveshell import InteractiveShell

from ollmlx.batch import accessors
from ollmlx.notebook import completion
from ollmlx.notebook.magics import HELP, OllmlxMagics

_MAGICS = "OllmlxMagics"


def load(shell: InteractiveShell) -> None:
    """Loading it again begins afresh: conversations are forgotten."""
    shell.register_magics(OllmlxMagics)
    if help_without_a_cell not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.append(help_without_a_cell)
    completion.install(shell)
    accessors.register()


def unload(shell: InteractiveShell) -> None:
    accessors.unwatch()
    completion.uninstall(shell)
    if help_without_a_cell in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(help_without_a_cell)
    magics = shell.magics_manager
    loaded = magics.registry.pop(_MAGICS, None)
    if isinstance(loaded, OllmlxMagics):
        loaded.session.close()
    for kind in ("line", "cell"):
        magics.magics[kind].pop("ollmlx", None)


def help_without_a_cell(lines: list[str]) -> list[str]:
    """IPython refuses a cell magic that has nothing below it; who wants help writes nothing."""
    first, *below = lines or [""]
    alone = first.startswith("%%ollmlx ") and not "".join(below).strip()
    return ["%ollmlx --help\n"] if alone and not set(HELP).isdisjoint(first.split()) else lines

"""What `%load_ext ollmlx` puts into a shell, in milliseconds: an HTTP client comes with the first
use.
"""

from IPython.core.interactiveshell import InteractiveShell

from ollmlx.batch import accessors
from ollmlx.notebook import completion
from ollmlx.notebook.magics import OllmlxMagics

_MAGICS = "OllmlxMagics"


def load(shell: InteractiveShell) -> None:
    """Loading it again begins afresh: conversations are forgotten."""
    shell.register_magics(OllmlxMagics)
    completion.install(shell)
    accessors.register()


def unload(shell: InteractiveShell) -> None:
    accessors.unwatch()
    completion.uninstall(shell)
    magics = shell.magics_manager
    loaded = magics.registry.pop(_MAGICS, None)
    if isinstance(loaded, OllmlxMagics):
        loaded.session.close()
    for kind in ("line", "cell"):
        magics.magics[kind].pop("ollmlx", None)

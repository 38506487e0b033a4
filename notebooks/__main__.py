"""`python3 notebooks [options of jupyter lab]` opens the first notebook, with both engines."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".ci"))
import environment

OPTIONS = (
    "--ServerApp.root_dir=notebooks",
    # Not as the file to open, which the address that is printed for other browsers would not name.
    "--LabApp.default_url=/lab/tree/01-first-chat.ipynb",
    "--OllmlxApp.open_door=True",
)

if __name__ == "__main__":
    given = {argument.partition("=")[0] for argument in sys.argv[1:]}
    # Jupyter refuses an option that comes twice.
    lab = ["-m", "jupyterlab"] + [own for own in OPTIONS if own.partition("=")[0] not in given]
    # In a container everybody is root, which Jupyter takes for a mistake.
    root = ["--allow-root"] if os.geteuid() == 0 else []
    environment.run([*lab, *root, *sys.argv[1:]])

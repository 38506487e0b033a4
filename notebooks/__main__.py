"""`python3 notebooks [options of jupyter lab]` opens the first notebook, with both engines."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".ci"))
import environment

FIRST = "notebooks/01-first-chat.ipynb"

if __name__ == "__main__":
    # In a container everybody is root, which Jupyter takes for a mistake.
    root = ["--allow-root"] if os.geteuid() == 0 else []
    lab = ["-m", "jupyterlab", FIRST, "--OllmlxApp.open_door=True"]
    environment.run([*lab, *root, *sys.argv[1:]])

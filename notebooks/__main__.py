"""`python3 notebooks [options of jupyter lab]` opens the first notebook in a JupyterLab with both engines."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".ci"))
import environment

FIRST = "notebooks/01-first-chat.ipynb"

if __name__ == "__main__":
    environment.run(["-m", "jupyterlab", FIRST, "--OllmlxApp.open_door=True", *sys.argv[1:]])

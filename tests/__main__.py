"""`python3 tests [pytest's arguments]` runs every test, notebooks included, in `.venv`.

In as many processes as there are cores, but no more than four: the models take memory.  `-n 0`
is one, for a debugger.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".ci"))
import environment

SHARED = ["-p", "tests.sharing", "-n", "logical", "--maxprocesses", "4"]

if __name__ == "__main__":
    environment.run(["-m", "pytest", *SHARED, *sys.argv[1:]])

"""`python3 tests [pytest's arguments]` runs every test, notebooks included, in `.venv`.

In one process more than there are cores, as many tests wait for servers and browsers, but no more
than four: the models take memory.  `-n 0` is one, for a debugger.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".ci"))
import environment

PROCESSES = min((os.cpu_count() or 1) + 1, 4)
SHARED = ["-p", "tests.sharing", "-n", str(PROCESSES)]

if __name__ == "__main__":
    environment.run(["-m", "pytest", *SHARED, *sys.argv[1:]])

"""`%load_ext ollmlx`: what it costs, what it brings, and what is left of it."""

import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

HEAVY = ("httpx", "ollama", "pydantic", "numpy", "msgspec", "pandas", "jupyter_server")


def test_loading_it_imports_nothing_that_takes_time():
    code = (
        "import IPython, sys; before = set(sys.modules); import ollmlx.notebook.extension; "
        f"print(*(set({HEAVY}) & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_have_it_in_the_very_cell_that_imports_them(library: str):
    code = (
        "import ollmlx, sys; ollmlx.register_accessors(); ollmlx.register_accessors(); "
        f"import {library} as tables; print(*[type(table.ollmlx).__name__ for table in "
        "(tables.Series([1]), tables.DataFrame({'a': [1]}))])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["OfSeries", "OfFrame"]


def test_unloading_it_leaves_nothing(shell: InteractiveShell):
    finders = len(sys.meta_path)
    shell.run_line_magic("unload_ext", "ollmlx")
    assert shell.find_line_magic("ollmlx") is None
    assert shell.find_cell_magic("ollmlx") is None
    assert len(sys.meta_path) == finders - 1
    assert not any("ollmlx" in one.__module__ for one in shell.input_transformers_cleanup)
    shell.run_line_magic("load_ext", "ollmlx")
    assert shell.find_cell_magic("ollmlx")

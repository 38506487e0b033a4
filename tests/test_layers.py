"""The plan of the house: a room imports only from lower floors, never from a neighbour."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"errors"},
    {"settings", "names", "origins", "gguf", "sight", "markdown", "codes"},
    {"wire", "servers", "frames"},
    {"store", "prompt", "engine", "client"},
    {"batch"},
    {"convert", "notebook", "widgets", "bench"},
    {"api"},
    {"http"},
    {"service"},
    {"room"},
    {"cli", "jupyter_ext"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ONLY = {
    "batch": {"client", "errors", "settings"},
    # It runs in another process.
    "notebook": {"batch", "client", "codes", "errors", "markdown", "names", "servers", "settings"},
    "widgets": {"client", "errors", "markdown", "servers"},
    "jupyter_ext": {"room", "frames", "origins", "settings", "errors"},
}
HEAVY = ("llama_cpp", "mlx", "mlx_lm", "mlx_vlm", "tokenizers", "torch", "transformers")


def files() -> list[Path]:
    return [*ROOT.glob("ollmlx/**/*.py"), *ROOT.glob("jupyter_ext/**/*.py")]


def room(module: str) -> str:
    """The room of a dotted module: `ollmlx.store.library` is in `store`, `ollmlx` in none."""
    first, _, rest = module.partition(".")
    return rest.partition(".")[0] if first == "ollmlx" else first


def imports(file: Path) -> Iterator[str]:
    """Modules of ours that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("ollmlx", "jupyter_ext"))


def test_every_room_stands_on_a_floor():
    rooms = {room(".".join(file.relative_to(ROOT).with_suffix("").parts)) for file in files()}
    assert rooms - {"__init__"} <= set(FLOOR)


def test_imports_point_down():
    wrong = []
    for file in files():
        here = room(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for target in imports(file):
            there = room(target)
            if here in ("__init__", there) or target == "ollmlx.__version__":
                continue
            if FLOOR[there] >= FLOOR[here] or there not in ONLY.get(here, FLOOR):
                wrong.append(f"{file.relative_to(ROOT)} imports {target}")
    assert wrong == []


def test_no_engine_is_imported_before_a_model_is_loaded():
    code = (
        "import ollmlx.notebook.magics, ollmlx.api.routes, ollmlx.room, ollmlx.convert, ollmlx.cli"
    )
    code += "\nimport jupyter_ext.app; from ollmlx import AsyncClient, Chat, Client, OllmlxError"
    code += f"\nimport sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == []


def test_jupyter_starts_before_the_engine_room_is_imported():
    late = ("numpy", "ollmlx.api", "ollmlx.http", "ollmlx.engine", "ollmlx.store")
    code = f"import jupyter_ext.app, sys; print(*[name for name in {late} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == []


def test_a_kernel_imports_no_server():
    code = "import ollmlx.notebook.magics, sys; print('jupyter_server' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "False\n"

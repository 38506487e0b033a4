"""What a model needs of memory and what there is: sizes in bytes."""

import functools
import shutil
import subprocess
import sys

import psutil

GIB = 1 << 30
# Compute buffers, the runtime itself and the allocator's slack.
OVERHEAD = 256 << 20
# Part of the free memory that caches of parallel sequences may take when the user names no number.
CACHE_SHARE = 0.25


def free_memory() -> int:
    """Bytes a new model could take without making the machine swap."""
    return psutil.virtual_memory().available  # type: ignore[no-any-return]  # psutil has no types


@functools.cache
def graphics_memory() -> int:
    """Bytes of memory that GPUs can use, 0 without one.  On Apple silicon, what Metal may wire of
    the RAM.
    """
    if sys.platform == "darwin":
        return int(psutil.virtual_memory().total * 0.75)
    if not (tool := shutil.which("nvidia-smi")):
        return 0
    query = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(int(line) << 20 for line in done.stdout.split() if line.isdecimal())


def default_context() -> int:
    """Tokens of context where nobody says: Ollama's tiers by GPU memory."""
    total = graphics_memory()
    return 262144 if total >= 47 * GIB else 32768 if total >= 23 * GIB else 4096


def parallel(cache_bytes: int, free: int) -> int:
    """Sequences to run at once when the user names no number: the most of 8 whose caches are a
    modest part of memory.
    """
    return next((n for n in (8, 4, 2) if n * cache_bytes <= free * CACHE_SHARE), 1)


def gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"

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
    """Bytes that GPUs can use, 0 without one; on Apple silicon Metal's part of the RAM."""
    if sys.platform == "darwin":
        return int(psutil.virtual_memory().total * 0.75)
    return _nvidia("memory.total")


def free_graphics_memory() -> int:
    """Bytes free on NVIDIA GPUs, 0 without one.  Apple's share the RAM, and so `free_memory`."""
    return _nvidia("memory.free")


def _nvidia(field: str) -> int:
    if not (tool := shutil.which("nvidia-smi")):
        return 0
    query = [tool, f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(int(line) << 20 for line in done.stdout.split() if line.isdecimal())


def layers(total: int, needed: int, free: int) -> int:
    """Layers to put on a GPU where the whole model does not fit; -1 is all of them."""
    return -1 if needed <= free else max(0, total * (free - OVERHEAD) // needed)


def default_context() -> int:
    """Tokens of context where nobody says: Ollama's tiers by GPU memory."""
    total = graphics_memory()
    return 262144 if total >= 47 * GIB else 32768 if total >= 23 * GIB else 4096


def parallel(cache_bytes: int, free: int) -> int:
    """Sequences to run at once where nobody says: as many of 8 as take a modest part of memory."""
    return next((n for n in (8, 4, 2) if n * cache_bytes <= free * CACHE_SHARE), 1)


def gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"

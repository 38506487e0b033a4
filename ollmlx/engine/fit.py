"""What a model needs of memory and what there is: sizes in bytes.

`kind` is that of a backend, `gguf` or `mlx`.
"""

import functools
import logging
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

log = logging.getLogger(__name__)
GIB = 1 << 30
# Compute buffers, the runtime itself and the allocator's slack.
OVERHEAD = 256 << 20
# Part of the free memory that caches of parallel sequences may take when the user names no number.
CACHE_SHARE = 0.25
# Sequences at once where the user names no number.  A GPU reads the weights once for all of them;
# a processor has to compute each, and gains little beyond a few.
MOST, MOST_ON_GPU = 8, 32
ADVICE = "a smaller num_ctx or OLLAMA_NUM_PARALLEL needs less"
# An engine's package; what lies beside one for processors; and for GPUs (CUDA, Vulkan), too.
_BUILDS = {
    "gguf": ("llama_cpp", "llama_cpp/lib/*ggml-cpu*", "llama_cpp/lib/*ggml-[cv]u*"),
    "mlx": ("mlx", "mlx_cpu*", "mlx_cuda*"),
}
# Of Linux's control groups, their second version and their first.
_LIMITS = (
    ("", "memory.max", "memory.current", ""),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
)
_SHORT = re.compile("alloc|(out of|insufficient) memory", re.IGNORECASE)


def memory(groups: Path = Path("/sys/fs/cgroup")) -> tuple[int, int]:
    """Bytes of the machine's memory, and those of them that can be taken without making it swap.

    A container's limit counts as the machine's: who goes beyond it is killed.
    """
    machine = psutil.virtual_memory()
    total, free = machine.total, machine.available
    for group, limit_file, used_file, whole in _LIMITS:
        limit, used = (_number(groups / group / name) for name in (limit_file, used_file))
        if limit and used:
            stat = (groups / group / "memory.stat").read_text()
            files = re.findall(rf"^{whole}(?:in)?active_file (\d+)", stat, re.MULTILINE)
            cached = sum(map(int, files))  # it is given up before anybody is killed
            total, free = min(total, limit), min(free, max(0, limit - used + cached))
    return total, free


def _number(file: Path) -> int:
    """0 where there is none: `max` is no limit."""
    text = file.read_text().strip() if file.is_file() else ""
    return int(text) if text.isdecimal() else 0


def free_memory() -> int:
    """Bytes a new model could take."""
    return memory()[1]


@functools.cache
def graphics_memory(kind: str) -> int:
    """Bytes that GPUs can use, 0 without one; on Apple silicon Metal's part of the RAM.  Blocks."""
    if sys.platform == "darwin":
        return int(psutil.virtual_memory().total * 0.75)
    total = _nvidia("memory.total")
    if total and not built_for_gpu(kind):
        built = "models leave the GPU alone: their engine was built without it (guide: NVIDIA GPUs)"
        log.warning("%s %s", kind.upper(), built)
        return 0
    return total


def free_graphics_memory(kind: str) -> int:
    """Bytes free on NVIDIA GPUs, 0 without one.  Apple's share the RAM, and so `free_memory`."""
    return _nvidia("memory.free") if built_for_gpu(kind) else 0


def built_for_gpu(kind: str) -> bool:
    """Whether the engine that is installed computes on a GPU that is not Apple's: pip builds
    llama.cpp for the processor unless it is told otherwise.  Told by its files, as importing it is
    for workers.
    """
    package, processor, gpu = _BUILDS.get(kind, ("sys", "", ""))
    spec = find_spec(package)
    places = [Path(place).parent for place in (spec and spec.submodule_search_locations) or ()]
    return not any(any(p.glob(processor)) and not any(p.glob(gpu)) for p in places)


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


def default_context(kind: str) -> int:
    """Tokens of context where nobody says: Ollama's tiers by GPU memory.  Blocks the first time."""
    total = graphics_memory(kind)
    return 262144 if total >= 47 * GIB else 32768 if total >= 23 * GIB else 4096


def parallel(cache_bytes: int, free: int, most: int) -> int:
    """Sequences to run at once where nobody says: `most`, halved until their caches take a modest
    part of memory.
    """
    while most > 1 and most * cache_bytes > free * CACHE_SHARE:
        most //= 2
    return most


@dataclass(frozen=True)
class Demand:
    """What a model would take, and what there is for it now."""

    weights: int
    cache_per_token: int
    num_ctx: int
    slots: int
    """Sequences at once."""
    cells: int
    """Tokens that they hold together: fewer than `num_ctx` each where they share the cache."""
    room: int
    """Free bytes, of GPUs or of the machine."""
    on_gpu: bool
    """Whether `room` is that of NVIDIA GPUs."""

    @property
    def cache(self) -> int:
        return self.cache_per_token * self.cells

    @property
    def needed(self) -> int:
        return self.weights + self.cache + OVERHEAD

    @property
    def fits(self) -> bool:
        return self.needed <= self.room

    def __str__(self) -> str:
        shared = self.cells < self.num_ctx * self.slots
        window = f"{self.num_ctx} tokens x {self.slots} at once"
        tokens = f"{self.cells} tokens that {self.slots} at once share" if shared else window
        return (
            f"{gib(self.weights)} of weights + {self.cache_per_token / 1024:.4g} KiB a token"
            f" x {tokens} + {gib(OVERHEAD)} of overhead"
            f" = {gib(self.needed)}; {gib(self.room)} are free"
        )


def shared_cells(cache_per_token: int, num_ctx: int, slots: int, free: int) -> int:
    """Tokens that sequences hold together which share a cache: a full window of each, or of one at
    least and what takes a modest part of memory.
    """
    modest = int(free * CACHE_SHARE) // cache_per_token if cache_per_token else num_ctx * slots
    return max(num_ctx, min(num_ctx * slots, modest))


def demand(
    kind: str,
    weights: int,
    cache_per_token: int,
    num_ctx: int,
    num_parallel: int,
    num_gpu: int,
) -> Demand:
    """`num_parallel` 0 is as many as memory has room for; those of a GGUF model share one cache.

    Blocks: it asks the GPUs.
    """
    free, graphics = free_memory(), free_graphics_memory(kind)
    on_gpu = bool(graphics and num_gpu)
    room = graphics if on_gpu else free
    most = MOST_ON_GPU if graphics_memory(kind) and num_gpu else MOST
    left = max(0, room - weights)
    if kind == "gguf" and not num_parallel:
        cells = shared_cells(cache_per_token, num_ctx, most, left)
        return Demand(weights, cache_per_token, num_ctx, most, cells, room, on_gpu)
    slots = num_parallel or parallel(cache_per_token * num_ctx, left, most)
    return Demand(weights, cache_per_token, num_ctx, slots, num_ctx * slots, room, on_gpu)


def explained(reason: str) -> str:
    """A library's words on what failed, with advice where memory was short."""
    return f"{reason} (memory is short: {ADVICE})" if _SHORT.search(reason) else reason


def gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"

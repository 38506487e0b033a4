"""The device MLX runs on, set up before the model is loaded and let go after it."""

import gc
import logging
import os
import threading
from pathlib import Path

import mlx.core as mx

from ollmlx.engine.jobs import LoadOptions

_log = logging.getLogger(__name__)


def prepare(options: LoadOptions) -> None:
    if options.num_gpu == 0:
        mx.set_default_device(mx.cpu)
    if on_cpu():
        # Compiling starts g++ for every kernel, and loads what it finds under a guessable name in
        # /tmp; it gains nothing where MLX's CPU products take nearly all the time.
        mx.disable_compile()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    # CUDA's kernels take up to a minute to compile: not into /tmp, where a restart loses them.
    os.environ.setdefault("MLX_PTX_CACHE_DIR", str(Path(cache) / "ollmlx" / "ptx"))
    if unheard := _without_counterpart(options):
        _log.warning("MLX has no counterpart for %s", ", ".join(unheard))


def on_cpu() -> bool:
    return bool(mx.default_device() == mx.cpu)


def unwire() -> None:
    """Undo what `BatchGenerator` sets when it is made: wired memory beside other users of the GPU
    has brought whole Macs down (ml-explore/mlx#3186)."""
    if mx.metal.is_available():
        mx.set_wired_limit(0)


def let_go() -> None:
    """Give memory back, on the thread that used it.

    A thread that ends with streams of its own makes the interpreter abort at its exit; the main
    thread does not, and may load another model.
    """
    gc.collect()
    mx.synchronize()
    mx.clear_cache()
    if threading.current_thread() is not threading.main_thread():
        mx.clear_streams()


def _without_counterpart(options: LoadOptions) -> list[str]:
    default = LoadOptions()
    names = ("num_thread", "use_mmap", "main_gpu", "flash_attention", "kv_cache_type")
    unheard = [name for name in names if getattr(options, name) != getattr(default, name)]
    return [*unheard, *(["num_gpu"] if options.num_gpu > 0 else [])]

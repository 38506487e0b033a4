"""What llama.cpp says while it works: why a load failed, and where its memory went."""

import ctypes
import re
import sys
from collections import deque
from functools import cache

from llama_cpp import llama_cpp as llama

from ollmlx.engine.fit import explained

_INFO, _ERROR, _CONTINUED = 2, 4, 5
_BUFFER = re.compile(r": +(\S+) .*\bbuffer size = +([\d.]+) MiB")
_IN_RAM = ("CPU", "AMX")


class Log:
    """The last lines of this process's log; errors go to stderr too."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=4000)
        # ctypes keeps no reference: the callback must live as long as llama.cpp may call it.
        self.callback = llama.llama_log_callback(self._receive)
        llama.llama_log_set(self.callback, ctypes.c_void_p(0))

    def clear(self) -> None:
        self._lines.clear()

    def errors(self) -> str:
        """The last few errors since `clear`, without the names of the functions that wrote them."""
        lines = [text.strip() for level, text in self._lines if level == _ERROR]
        reasons = "; ".join(line.partition(": ")[2] or line for line in lines[-3:] if line)
        return explained(reasons or "llama.cpp does not say why")

    def buffers(self) -> tuple[int, int]:
        """Bytes of all buffers announced since `clear`, and of those on a GPU."""
        total = on_gpu = 0
        for _, text in self._lines:
            if found := _BUFFER.search(text):
                size = int(float(found[2]) * 2**20)
                total += size
                in_ram = found[1].startswith(_IN_RAM) or "Host" in found[1]
                on_gpu += 0 if in_ram else size
        return total, on_gpu

    def _receive(self, level: int, text: bytes, _: object) -> None:
        line = text.decode("utf-8", "replace")
        if level == _CONTINUED and self._lines:
            level, start = self._lines.pop()
            line = start + line
        elif level == _ERROR:
            sys.stderr.write(line)
        if level >= _INFO:
            self._lines.append((level, line))


@cache
def log() -> Log:
    """The one log of this process: llama.cpp has one, and it must outlive every model."""
    return Log()

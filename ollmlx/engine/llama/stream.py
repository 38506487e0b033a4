"""Bytes made in Python as a `FILE *` of C, for llama.cpp to read a model from."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ollmlx.engine.llama.published.layouts import BROKEN, Content

_BUFFER_BYTES = 1 << 20
"""Read ahead: macOS reads no more at once, however much is asked for."""
_FULLY_BUFFERED = 0
_READ = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_SEEK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_int
)
_MAC_READ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
_MAC_SEEK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int)


class _Functions(ctypes.Structure):
    """glibc's and musl's `cookie_io_functions_t`."""

    _fields_ = (
        ("read", _READ),
        ("write", ctypes.c_void_p),
        ("seek", _SEEK),
        ("close", ctypes.c_void_p),
    )


class Stream:
    """What the C library calls while `opened`."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._at = 0
        self.failure: Exception | None = None
        """Why a read failed."""

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """The `FILE *`.  Raises `OSError`."""
        library = ctypes.CDLL(None, use_errno=True)
        # ctypes keeps no reference to what C may call, so it stays in a name until the end.
        file, _kept = self._open_mac(library) if sys.platform == "darwin" else self._open(library)
        if not file:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        try:
            library.setvbuf(
                ctypes.c_void_p(file), None, _FULLY_BUFFERED, ctypes.c_size_t(_BUFFER_BYTES)
            )
            yield ctypes.c_void_p(file)
        finally:
            library.fclose(ctypes.c_void_p(file))

    def _open(self, library: Any) -> tuple[Any, Any]:
        def seek(_: Any, offset: Any, whence: int) -> int:
            offset[0] = self._seek(offset[0], whence)
            return 0 if offset[0] >= 0 else -1

        functions = _Functions(read=_READ(self._read), seek=_SEEK(seek))
        library.fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _Functions]
        library.fopencookie.restype = ctypes.c_void_p
        return library.fopencookie(None, b"rb", functions), functions

    def _open_mac(self, library: Any) -> tuple[Any, Any]:
        def seek(_: Any, offset: int, whence: int) -> int:
            return self._seek(offset, whence)

        functions = _MAC_READ(self._read), _MAC_SEEK(seek)
        library.funopen.argtypes = [
            ctypes.c_void_p,
            _MAC_READ,
            ctypes.c_void_p,
            _MAC_SEEK,
            ctypes.c_void_p,
        ]
        library.funopen.restype = ctypes.c_void_p
        return library.funopen(None, functions[0], None, functions[1], None), functions

    def _read(self, _: Any, target: int, count: int) -> int:
        done = 0
        try:
            for piece in self._content.read(self._at, count):
                ctypes.memmove(target + done, piece.ctypes.data, len(piece))
                done += len(piece)
        except (MemoryError, *BROKEN) as error:  # C knows no exceptions: it is told of a failure
            self.failure = error
            return -1
        self._at += done
        return done

    def _seek(self, offset: int, whence: int) -> int:
        """The new place, or -1 for one before the beginning."""
        place = offset + (0, self._at, self._content.size)[whence]
        if place >= 0:
            self._at = place
        return max(place, -1)

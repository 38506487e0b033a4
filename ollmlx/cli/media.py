"""Pictures and sounds named in a prompt: read, and taken out of its text."""

import base64
import errno
import os
import re
from typing import BinaryIO

from ollmlx.cli.terminal import tell
from ollmlx.errors import BadRequest

_NAMED = re.compile(r"(?:[a-zA-Z]:)?(?:\./|/|\\)[\S\\ ]+?\.(?i:jpg|jpeg|png|webp|wav)\b")
_ESCAPED = re.compile(r"\\([ ()\[\]{}$&;'\\*?~])")
_NO_PATH = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_MOST_BYTES = 100 * 1024 * 1024


class NotMedia(BadRequest):
    """A file named in a prompt that is no picture and no sound, or too large."""


def named(prompt: str) -> list[str]:
    """What looks like the path of a picture or a sound; not all of it is there."""
    return _NAMED.findall(prompt)


def extract(prompt: str) -> tuple[str, list[str]]:
    """The prompt without the files in it, and the files as base64.

    Raises `NotMedia`.
    """
    files: list[str] = []
    for written in named(prompt):
        path = _ESCAPED.sub(r"\1", written)
        try:
            content = _read(path)
        except NotMedia as error:
            tell(f'Couldn\'t process file: "{error}"')
            raise
        if content is None:
            continue
        tell(f"Added {'audio' if path.lower().endswith('.wav') else 'image'} '{path}'")
        for spelled in (f"'{path}'", f"'{written}'", written):
            prompt = prompt.replace(spelled, "")
        files.append(base64.b64encode(content).decode())
    return prompt.strip(), files


def _read(path: str) -> bytes | None:
    """None for what names no file: then it is text.  Raises `NotMedia`."""
    try:
        with open(path, "rb") as file:
            return _checked(file)
    except ValueError:  # there is a NUL in it
        return None
    except OSError as error:
        if error.errno in _NO_PATH:
            return None
        raise NotMedia(f"open {path}: {error.strerror}") from error


def _checked(file: BinaryIO) -> bytes:
    if not _is_media(start := file.read(512)):
        kind = "application/octet-stream" if b"\0" in start else "text/plain; charset=utf-8"
        raise NotMedia(f"invalid file type: {kind}")
    if os.fstat(file.fileno()).st_size > _MOST_BYTES:
        raise NotMedia("file size exceeds maximum limit (100MB)")
    return start + file.read()


def _is_media(start: bytes) -> bool:
    """JPEG, PNG, WebP or WAV, by what stands at its beginning."""
    riff = start[:4] == b"RIFF" and start[8:12] in (b"WEBP", b"WAVE")
    return riff or start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))

"""Bodies with files in them: `multipart/form-data`, RFC 7578."""

from dataclasses import dataclass
from email.message import Message

from tornado.httputil import HTTPFile, HTTPInputError, parse_multipart_form_data

from ollmlx.errors import Malformed


@dataclass(frozen=True)
class Form:
    """The first value of each name."""

    fields: dict[str, str]
    files: dict[str, bytes]


def parse(content_type: str, body: bytes) -> Form:
    """Raises `Malformed` with the texts of Go's `net/http`."""
    boundary = _boundary(content_type).encode()
    if b"--" + boundary not in body:
        raise _unreadable("multipart: NextPart: EOF")
    if b"--" + boundary + b"--" not in body:
        raise _unreadable("unexpected EOF")
    fields: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    try:
        parse_multipart_form_data(boundary, body, fields, files)
    except (HTTPInputError, ValueError) as error:
        raise _unreadable(str(error)) from error
    return Form(
        {name: values[0].decode("utf-8", "replace") for name, values in fields.items()},
        {name: found[0].body for name, found in files.items()},
    )


def _boundary(content_type: str) -> str:
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_type() != "multipart/form-data":
        raise _unreadable("request Content-Type isn't multipart/form-data")
    boundary = header.get_boundary()
    if not boundary:
        raise _unreadable("no multipart boundary param in Content-Type")
    return boundary


def _unreadable(reason: str) -> Malformed:
    return Malformed(f"failed to parse multipart form: {reason}")

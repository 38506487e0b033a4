"""Who the user is to a registry: the key in `~/.ollama/id_ed25519`, shared with Ollama."""

import base64
import hashlib
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from ollmlx.errors import OllmlxError
from ollmlx.store.appearing import draft, write_whole
from ollmlx.store.ollama.blobs import storing

NOTHING = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()


class BadKey(OllmlxError):
    """The file of the key holds something else."""


def key_path() -> Path:
    return Path.home() / ".ollama" / "id_ed25519"


def load(path: Path) -> Ed25519PrivateKey:
    """The key, made when there is none.  Raises `BadKey` or `CannotStore`."""
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        return _make(path)
    except (OSError, ValueError, TypeError) as error:
        raise BadKey(f"cannot read the key {path}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{path} is not an ed25519 key")
    return key


def _make(path: Path) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    with storing(path.parent):
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with draft(path.parent, private) as whole:
            try:
                os.link(whole, path)
            except FileExistsError:
                return load(path)  # another process was faster
        write_whole(path.with_suffix(".pub"), f"{public(key)}\n".encode())
    return key


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def signed(key: Ed25519PrivateKey, url: str) -> str:
    """The `Authorization` of a GET: `<public key>:<signature>`."""
    return signature(key, f"GET,{url},{NOTHING}")


def signature(key: Ed25519PrivateKey, text: str) -> str:
    """`<public key>:<signature of the text>`."""
    return f"{public(key).split()[1]}:{base64.b64encode(key.sign(text.encode())).decode()}"

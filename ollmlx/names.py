"""What users call a model: `llama3.2:1b`, `hf.co/org/repo:Q4_K_M`, `mlx-community/X`,
`./model.gguf`.

Ollama's grammar is `[scheme://][host/][namespace/]model[:tag]`.  A name that starts with `/`, `./`,
`../` or `~` is a path on this machine instead.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ollmlx.errors import BadRequest, InvalidName

HOST, NAMESPACE, TAG = "registry.ollama.ai", "library", "latest"
_MODEL_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_NAMESPACE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_HOST_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")


@dataclass(frozen=True)
class Name:
    """A complete model name; every part is valid as one component of a path."""

    host: str
    namespace: str
    model: str
    tag: str
    scheme: str = "https"

    @property
    def display(self) -> str:
        """The shortest form, always with its tag: `llama3.2:latest`, `hf.co/org/repo:Q4_K_M`."""
        short = f"{self.model}:{self.tag}"
        if self.host.lower() != HOST:
            return f"{self.host}/{self.namespace}/{short}"
        return short if self.namespace.lower() == NAMESPACE else f"{self.namespace}/{short}"

    @property
    def full(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def path(self) -> Path:
        """Relative path of this name in a store's tree of manifests."""
        return Path(self.host, self.namespace, self.model, self.tag)

    def matches(self, other: "Name") -> bool:
        return self.full.lower() == other.full.lower()


def parse(text: str) -> Name:
    """Raises `InvalidName`."""
    scheme, separator, rest = text.rpartition("://")
    slash, colon = rest.rfind("/"), rest.rfind(":")
    tag = TAG
    if colon > slash:
        rest, tag = rest[:colon], rest[colon + 1 :]
    given = rest.rsplit("/", 2)
    host, namespace, model = [*(HOST, NAMESPACE)[: 3 - len(given)], *given]
    parts = (
        (_HOST_PART, host),
        (_NAMESPACE_PART, namespace),
        (_MODEL_PART, model),
        (_MODEL_PART, tag),
    )
    if (separator and scheme not in ("http", "https")) or not all(
        pattern.fullmatch(part) for pattern, part in parts
    ):
        raise InvalidName
    return Name(host, namespace, model, tag, scheme or "https")


def installed(text: str) -> str:
    """Take off Ollama's source suffix: `x:local` is the installed `x`.

    Raises `BadRequest` for a name that asks for both sources at once, and for one that only a cloud
    could run.
    """
    base, _, suffix = text.rpartition(":")
    if suffix.lower() in ("local", "cloud") and base:
        again = base.rpartition(":")[2].lower()
        if again in ("local", "cloud") and again != suffix.lower():
            raise BadRequest(f'use either :local or :cloud, not both: "{text}"')
        if suffix.lower() == "local":
            return base
    return text


def of_cloud(text: str) -> str:
    """What `x:cloud` or `x:20b-cloud` is called in Ollama's cloud; empty for any other name."""
    base, _, suffix = text.rpartition(":")
    if base and suffix.lower() == "cloud":
        return base
    tagged = base and "/" not in suffix and suffix.lower().endswith("-cloud")
    return text[: -len("-cloud")] if tagged else ""


def as_path(text: str) -> Path | None:
    """The path that a name written as a path means, else None.  NUL never names a file."""
    if text.startswith(("/", "./", "../", "~")) and "\0" not in text:
        # Not Path.expanduser, which raises for the home of nobody.
        return Path(os.path.expanduser(text))
    return None


def from_here(text: str) -> str:
    """The name to tell a server, which works in a folder of its own: paths begin at the root."""
    path = as_path(text)
    return str(path.absolute()) if path else text

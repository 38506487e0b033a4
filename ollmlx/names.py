"""What users call a model: `llama3.2:1b`, `hf.co/org/repo:Q4_K_M`, `mlx-community/X`,
`./model.gguf`.

Ollama's grammar is `[scheme://][host/][namespace/]model[:tag]`, and the scheme means nothing: it is
`insecure` that lets a registry be asked without TLS.  A name that starts with `/`, `./`,
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
    rest, tag = text, TAG
    if text.rfind(":") > text.rfind("/"):
        rest, _, tag = text.rpartition(":")
    given = rest.rsplit("/", 2)
    host, namespace, model = [*(HOST, NAMESPACE)[: 3 - len(given)], *given]
    _, separator, address = host.partition("://")
    if separator:
        host = address or HOST
    parts = (host, namespace, model, tag)
    patterns = (_HOST_PART, _NAMESPACE_PART, _MODEL_PART, _MODEL_PART)
    if not all(map(re.Pattern.fullmatch, patterns, parts)):
        raise InvalidName(name="{}/{}/{}:{}".format(*(part or "!MISSING!" for part in parts)))
    return Name(host, namespace, model, tag)


def _source(text: str) -> tuple[str, str]:
    """The name without the suffix that says where it is to run, and where: `local` or `cloud`."""
    base, colon, suffix = text.rpartition(":")
    word = suffix.strip().lower()
    if colon and word in ("local", "cloud"):
        return base, word
    if colon and word.endswith("-cloud") and "/" not in suffix:
        return f"{base}:{suffix.strip()[: -len('-cloud')]}", "cloud"
    return text, ""


def _referred(text: str) -> tuple[str, str]:
    """The same of a name that says at most once where it is to run.  Raises `BadRequest`."""
    base, source = _source(text.strip())
    if source and _source(base)[1]:
        raise BadRequest(f'use either :local or :cloud, not both: "{text.strip()}"')
    return base, source


def installed(text: str) -> str:
    """Take off Ollama's source suffix: `x:local` is the installed `x`.

    Raises `BadRequest` for a name that asks for two sources.
    """
    base, source = _referred(text)
    return base if source == "local" else text.strip()


def of_cloud(text: str) -> str:
    """What `x:cloud` or `x:20b-cloud` is called in Ollama's cloud; empty for any other name.

    Raises `BadRequest` for a name that asks for two sources.
    """
    base, source = _referred(text)
    return base if source == "cloud" else ""


def in_registry(text: str) -> str:
    """What a name is called where it is pulled from: `x:20b:cloud` is `x:20b-cloud` there.

    Raises `BadRequest` for a name that asks for two sources.
    """
    base, source = _referred(text)
    if source != "cloud":
        return base
    return f"{base}-cloud" if base.rfind(":") > base.rfind("/") else f"{base}:cloud"


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

"""Models of the Hugging Face hub, fetched into its ordinary cache.

huggingface_hub says what there is, who may have it and how the cache is laid out.  Weights come
through `download`, which resumes and checks hashes as that client no longer does, and are put where
it looks for them.  Only data is fetched: no pickles, no code.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from ollmlx import names
from ollmlx.errors import OllmlxError
from ollmlx.names import Name
from ollmlx.store.appearing import write_whole
from ollmlx.store.documents import MOST_BYTES
from ollmlx.store.ollama.blobs import check_room, storing
from ollmlx.store.places import snapshots
from ollmlx.store.transfer import quantizations
from ollmlx.store.transfer.partial import missing_bytes
from ollmlx.store.transfer.transport import Session
from ollmlx.store.weights import NotAModel

T = TypeVar("T")
HOSTS = ("hf.co", "huggingface.co")
MLX_NAMESPACE = "mlx-community"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_FOUND = 8 << 20
"""Bytes of a search's answer."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What tokenizers and chat templates are made of; weights are chosen apart.
_SMALL = ("*.json", "*.jinja", "merges.txt", "vocab.txt", "tokenizer.model", "*.tiktoken")


class HubRefused(OllmlxError):
    """The hub does not give the model, or cannot be asked."""


@dataclass(frozen=True)
class RemoteFile:
    path: str
    size: int
    """Bytes."""
    sha256: str = ""
    """64 hex digits; empty for small files, which the hub keeps in git."""


@dataclass(frozen=True)
class Wanted:
    """What makes up one model of a repository."""

    repository: str
    """`organisation/name`."""
    revision: str
    """The branch or tag whose newest commit this is, or the commit itself."""
    commit: str
    small: tuple[RemoteFile, ...]
    weights: tuple[RemoteFile, ...]
    """In the order in which they may appear: a model is whole with the last."""


@dataclass(frozen=True)
class Repository:
    """What the hub's search tells of one."""

    name: str
    """`organisation/name`."""
    format: str
    """`mlx` or `gguf`."""
    downloads: int
    likes: int
    updated_at: str
    """RFC 3339."""
    gated: bool


class _Info(msgspec.Struct, rename="camel"):
    """What the search answers of one: https://huggingface.co/docs/hub/api"""

    id: str
    downloads: int = 0
    likes: int = 0
    last_modified: str = ""
    gated: bool | str = False


def is_from_hub(name: Name) -> bool:
    """Whether a name means a repository there and not a registry."""
    if name.host.lower() in HOSTS:
        return True
    return name.host.lower() == names.HOST and name.namespace.lower() == MLX_NAMESPACE


class Hub:
    """The hub that huggingface_hub is set to, with its token; everything here blocks."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        # It takes half a second to import, and most servers never pull from there.
        import huggingface_hub
        from huggingface_hub import constants, utils

        # The client reports to us; a terminal of the server is nobody's.
        utils.disable_progress_bars()
        self._library, self._headers = huggingface_hub, utils.build_hf_headers
        self._endpoint = environment.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")
        self._cache = snapshots.cache_folder(environment)
        self.offline = constants.HF_HUB_OFFLINE

    def look_up(self, name: Name) -> Wanted:
        """The files of the model that a name means.  A tag is a quantisation, else a revision.

        Raises `HubRefused` or `NotAModel`.
        """
        repository = f"{name.namespace}/{name.model}"
        info = self._info(repository, None)
        paths = [file.rfilename for file in info.siblings or ()]
        revision = "main"
        if name.tag != names.TAG and quantizations.choose(paths, name.tag) is None:
            revision = name.tag
            info = self._info(repository, revision)
        if not _COMMIT.fullmatch(info.sha or ""):
            raise HubRefused(f"{repository}: the hub names no commit")
        files = {file.path: file for file in map(_remote, info.siblings or ()) if file}
        small, weights = _chosen(repository, files, name.tag if revision == "main" else names.TAG)
        return Wanted(repository, revision, info.sha, small, weights)

    def blob(self, wanted: Wanted, file: RemoteFile) -> Path:
        """Where the cache keeps the content of a large file."""
        return self._folder(wanted) / "blobs" / file.sha256

    def source(self, wanted: Wanted, file: RemoteFile, session: Session) -> "HubSource":
        library = self._library
        url = library.hf_hub_url(
            wanted.repository, file.path, revision=wanted.commit, endpoint=self._endpoint
        )
        return HubSource(session, url, self._headers(library_name="ollmlx"))

    def place(self, wanted: Wanted, files: Iterable[RemoteFile]) -> None:
        """Put files into the snapshot: small ones are fetched, large ones must be in `blob`.

        Raises `HubRefused`.
        """
        fetch = partial(
            self._library.hf_hub_download,
            wanted.repository,
            revision=wanted.commit,
            cache_dir=self._cache,
            endpoint=self._endpoint,
        )
        for file in files:
            self._asking(wanted.repository, partial(fetch, filename=file.path))

    def publish(self, wanted: Wanted) -> None:
        """Let the revision mean this commit, now that all of it is there.  Raises `CannotStore`."""
        if wanted.revision == wanted.commit:
            return
        reference = self._folder(wanted) / "refs" / wanted.revision
        with storing(reference.parent):
            reference.parent.mkdir(parents=True, exist_ok=True)
            write_whole(reference, wanted.commit.encode())

    def check_room(self, wanted: Wanted) -> None:
        """Raises `NoRoom` when the disk cannot take what is missing."""
        missing = sum(
            missing_bytes(self.blob(wanted, file), file.size)
            for file in wanted.weights
            if file.sha256
        )
        check_room(self._folder(wanted), missing)

    def search(self, text: str, limit: int) -> list[Repository]:
        """Repositories with weights we can run, most downloaded first.  Raises `HubRefused`."""
        if self.offline:
            raise HubRefused("the hub cannot be searched: HF_HUB_OFFLINE is set")
        found: list[Repository] = []
        for form in ("mlx", "gguf"):
            asked = {"search": text, "filter": form, "sort": "downloads", "limit": limit}
            # Not by the hub's client, which tries for twenty seconds where nobody answers.
            url = f"{self._endpoint}/api/models?{urlencode(asked)}"
            try:
                with Session().open("GET", url, self._headers(library_name="ollmlx")) as answer:
                    infos = msgspec.json.decode(answer.read(_MOST_FOUND), type=list[_Info])
            except (OllmlxError, OSError, HTTPException, msgspec.DecodeError) as error:
                raise HubRefused(f"the hub cannot be searched: {error}") from error
            found += [
                Repository(i.id, form, i.downloads, i.likes, i.last_modified, bool(i.gated))
                for i in infos
            ]
        return sorted(found, key=lambda repository: -repository.downloads)

    def _folder(self, wanted: Wanted) -> Path:
        return self._cache / f"models--{wanted.repository.replace('/', '--')}"

    def _info(self, repository: str, revision: str | None) -> Any:
        api = self._library.HfApi(endpoint=self._endpoint, library_name="ollmlx")
        return self._asking(
            repository,
            lambda: api.model_info(repository, revision=revision, files_metadata=True),
        )

    def _asking(self, repository: str, ask: Callable[[], T]) -> T:
        """Raises `HubRefused` in words that say what to do."""
        errors = self._library.errors
        try:
            return ask()
        except errors.GatedRepoError as error:
            raise HubRefused(
                f"{repository} is gated: accept its terms at {self._endpoint}/{repository}, "
                "then set HF_TOKEN or run `hf auth login`"
            ) from error
        except errors.RevisionNotFoundError as error:
            raise HubRefused("file does not exist") from error
        except errors.RepositoryNotFoundError as error:
            raise HubRefused(
                f"{repository} is not on the hub, or it is private: "
                "set HF_TOKEN or run `hf auth login`"
            ) from error
        except errors.OfflineModeIsEnabled as error:
            raise HubRefused(f"{repository} cannot be fetched: HF_HUB_OFFLINE is set") from error
        # Its refusals are errors of its HTTP library, and so is a connection that fails.
        except (OSError, ValueError, *errors.HfHubHTTPError.__bases__) as error:
            said = str(error).strip() or type(error).__name__  # timeouts say nothing
            raise HubRefused(f"{self._endpoint}/{repository}: {said.splitlines()[0]}") from error


class HubSource:
    """A file of the hub, as `download.Source`; the redirect to where it lies is remembered."""

    def __init__(self, session: Session, url: str, headers: Mapping[str, str]) -> None:
        self._session, self._url, self._headers = session, url, dict(headers)
        self._direct = ""

    def open(self, start: int, end: int | None) -> HTTPResponse:
        span = {} if end is None else {"Range": f"bytes={start}-{end}"}
        if self._direct:
            return self._session.open("GET", self._direct, span)
        response = self._session.open("GET", self._url, {**self._headers, **span})
        if response.url != self._url:
            self._direct = response.url
        return response

    def forget(self) -> None:
        self._direct = ""


def _remote(file: Any) -> RemoteFile | None:
    """None for a file whose name would leave the snapshot, or whose hash is none."""
    path = PurePosixPath(file.rfilename)
    if path.is_absolute() or ".." in path.parts or "\0" in file.rfilename:
        return None
    if file.lfs is None:
        return RemoteFile(file.rfilename, file.size or 0)
    digest = file.lfs.sha256
    if not _SHA256.fullmatch(digest) or not isinstance(file.lfs.size, int) or file.lfs.size < 0:
        return None
    return RemoteFile(file.rfilename, file.lfs.size, digest)


def _chosen(
    repository: str, files: Mapping[str, RemoteFile], tag: str
) -> tuple[tuple[RemoteFile, ...], tuple[RemoteFile, ...]]:
    """Small files, and weights.  Raises `NotAModel`."""
    safetensors = sorted(
        path for path in files if path.endswith(".safetensors") and "/" not in path
    )
    first = quantizations.choose(files, tag)
    if first and (not safetensors or tag != names.TAG):
        projector = quantizations.projector(files, first)
        paths = [*([projector] if projector else []), *quantizations.parts(files, first)]
        return (), tuple(files[path] for path in paths)
    if not safetensors or "config.json" not in files:
        raise NotAModel(f"{repository} has {_what_else(files)}")
    # Mistral's repositories have everything a second time as `consolidated.safetensors`.
    whole = [path for path in safetensors if path.startswith("model")] or safetensors
    beside = [file for file in files.values() if _is_small(file.path)]
    too_long = next((f for f in beside if not f.sha256 and f.size > MOST_BYTES), None)
    if too_long:
        raise NotAModel(f"{repository}: {too_long.path} is longer than {MOST_BYTES} bytes")
    large = [file for file in beside if file.sha256]
    return (
        tuple(file for file in beside if not file.sha256),
        (*large, *(files[path] for path in whole)),
    )


def _is_small(path: str) -> bool:
    return "/" not in path and any(PurePosixPath(path).match(pattern) for pattern in _SMALL)


def _what_else(files: Iterable[str]) -> str:
    if any(path.endswith((".bin", ".pt", ".pth", ".pickle", ".ckpt")) for path in files):
        return "only pickled weights, which can run code when read: they are not fetched"
    return "neither safetensors with a config.json nor GGUF files"

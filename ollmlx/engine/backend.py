"""The one thing a model runtime must be."""

import os
from collections.abc import Callable
from typing import Protocol

from ollmlx.engine.jobs import Delta, Embed, Embedded, Failed, Generate, LoadOptions, ModelInfo
from ollmlx.errors import LoadFailed, Unavailable

Report = Callable[[float], None]
"""Called with the fraction loaded, 0 to 1."""


class Backend(Protocol):
    """One loaded model.  Lives in its own process, on one thread, and never awaits.

    Errors of one job are `Failed` events of that job; what `step` raises is the death of every job,
    and the worker answers them all.  `submit` and `embed` never raise for what a client can send.
    """

    info: ModelInfo

    def tokenize(self, text: str, special: bool) -> list[int]:
        """Another thread may call it while a step runs."""

    def detokenize(self, tokens: list[int]) -> str: ...

    def look(self, files: list[bytes]) -> list[list[int]]:
        """The tokens that stand for images and sounds in a prompt.  Any thread may call it.

        Raises `BadRequest` for files the model cannot take.
        """

    def submit(self, job: Generate) -> None:
        """Queue a job; its deltas come out of later steps.  Beyond `num_parallel` it waits, first
        come first served.
        """

    def embed(self, job: Embed) -> None:
        """Queue texts to embed; one `Embedded` comes out of a later step."""

    def cancel(self, job_id: int) -> None:
        """Forget a job, waiting or running, before the next step.  Unknown ids are ignored."""

    def step(self) -> list[Delta | Embedded | Failed]:
        """Do one bounded piece of work: a token of every running job and at most a chunk of
        prefill.
        """

    @property
    def busy(self) -> bool:
        """Whether any job is unfinished.  Between prefill chunks `step` may return nothing."""

    def rest(self) -> None:
        """Nothing is to be done after what was: prepare what later jobs would stand still for."""

    def close(self) -> None:
        """Free everything, on the thread that made it."""


def load(kind: str, path: str, options: LoadOptions, report: Report) -> Backend:
    """Load a model.

    Raises `Unavailable` when the engine is not installed, `LoadFailed` with Ollama's text when the
    model is bad.
    """
    try:
        match kind:
            case "echo":
                from ollmlx.engine.echo import EchoBackend

                return EchoBackend(path, options, report)
            case "gguf":
                # GNU's OpenMP spins at a barrier for as long as it takes, and a step beside busy
                # neighbours takes seconds.  Half a millisecond is enough on a quiet machine.  It
                # is read when the library loads, so it is set before.
                os.environ.setdefault("GOMP_SPINCOUNT", "10000")
                from ollmlx.engine.llama.backend import LlamaCppBackend

                return LlamaCppBackend(path, options, report)
            case "mlx":
                from ollmlx.engine.mlx.backend import MlxBackend

                return MlxBackend(path, options, report)
    except ModuleNotFoundError as error:
        missing = {"gguf": "GGUF", "mlx": "MLX"}.get(kind, kind)
        raise Unavailable(
            f"this is a {missing} model and its engine is not installed ({error.name} is missing): "
            f"pip install 'ollmlx[{kind}]'"
        ) from error
    raise LoadFailed(f"unknown kind of model: {kind}")

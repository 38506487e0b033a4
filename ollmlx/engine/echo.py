"""The smallest Backend: it says the prompt back.  Read this one first.

Its path is a script of the load: `-` loads, `slow` never finishes loading, anything else fails.
Three bytes of a prompt are special: `!` kills the process, `?` fails the job, and at ENQUIRY all
wait until somebody asks for a text's tokens.  So every promise of the house can be tested in
milliseconds.
"""

import os
import threading
import time

import numpy as np

from ollmlx.engine.backend import Report
from ollmlx.engine.jobs import (
    Delta,
    Embed,
    Embedded,
    Failed,
    Finish,
    Generate,
    LoadOptions,
    ModelInfo,
    TokenLogprob,
    Usage,
)
from ollmlx.engine.media import NO_MEDIA
from ollmlx.errors import BadRequest, LoadFailed

ENQUIRY = 5


class EchoBackend:
    def __init__(self, path: str, options: LoadOptions, report: Report) -> None:
        while path == "slow":
            time.sleep(0.05)
        if path != "-":
            raise LoadFailed(f"nothing answers at {path}")
        report(1.0)
        self.info = ModelInfo(options.num_ctx, num_vocab=256, size=1, size_vram=0)
        self._slots = options.num_parallel
        self._jobs: dict[int, tuple[Generate, int]] = {}
        self._embeds: list[Embed] = []
        self._asked = threading.Event()

    def tokenize(self, text: str, special: bool) -> list[int]:
        self._asked.set()
        return list(text.encode())

    def detokenize(self, tokens: list[int]) -> str:
        return bytes(tokens).decode("utf-8", "replace")

    def look(self, files: list[bytes]) -> list[list[int]]:
        raise BadRequest(NO_MEDIA)

    def submit(self, job: Generate) -> None:
        self._jobs[job.id] = (job, 0)
        self._asked.clear()

    def embed(self, job: Embed) -> None:
        self._embeds.append(job)

    def cancel(self, job_id: int) -> None:
        self._jobs.pop(job_id, None)

    def step(self) -> list[Delta | Embedded | Failed]:
        time.sleep(0.001)
        embeds, self._embeds = self._embeds, []
        running = list(self._jobs.values())[: self._slots]
        return [*map(self._lengths, embeds), *(self._advance(*running) for running in running)]

    @property
    def busy(self) -> bool:
        return bool(self._jobs or self._embeds)

    def rest(self) -> None:
        pass

    def close(self) -> None:
        self._jobs.clear()

    def _lengths(self, job: Embed) -> Embedded:
        rows = [[len(tokens), 3.0, 4.0] for tokens in job.inputs]
        return Embedded(job.id, 3, np.array(rows, np.float32).tobytes())

    def _advance(self, job: Generate, done: int) -> Delta | Failed:
        token = job.prompt[done]
        if token == ord("!"):
            os._exit(9)
        if token == ord("?"):
            del self._jobs[job.id]
            return Failed(job.id, "asked a question")
        if token == ENQUIRY:
            self._asked.wait()
        done += 1
        self._jobs[job.id] = (job, done)
        finish = self._finish(job, done)
        usage = None
        if finish:
            del self._jobs[job.id]
            usage = Usage(len(job.prompt), 0, 1000, done, 1000)
        logprobs = [] if job.logprobs is None else [TokenLogprob(bytes([token]), 0.0)]
        return Delta(job.id, chr(token), [token], logprobs, finish, usage)

    def _finish(self, job: Generate, done: int) -> Finish | None:
        if done == len(job.prompt):
            return "stop"
        return "length" if done == job.max_tokens else None

"""Driving a backend by hand: submit jobs, step until nothing is left, look at what came out."""

from dataclasses import dataclass, field

from ollmlx.engine.backend import Backend
from ollmlx.engine.jobs import (
    Delta,
    Embedded,
    Failed,
    Finish,
    Generate,
    Sampling,
    TokenLogprob,
    Usage,
)

GREEDY = Sampling(temperature=0)
Event = Delta | Embedded | Failed


@dataclass
class Answer:
    """All deltas of one job, put together."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish: Finish | None = None
    usage: Usage | None = None
    failed: Failed | None = None
    embedded: Embedded | None = None

    def add(self, event: Event) -> None:
        assert self.finish is None
        assert self.failed is None
        if isinstance(event, Failed):
            self.failed = event
        elif isinstance(event, Embedded):
            self.embedded = event
        else:
            self.text += event.text
            self.tokens += event.tokens
            self.logprobs += event.logprobs
            self.finish, self.usage = event.finish, event.usage


def cached(answer: Answer) -> int:
    """Tokens of the prompt that were not read again."""
    assert answer.usage is not None
    return answer.usage.cached_tokens


def drive(backend: Backend, most: int = 5000) -> dict[int, Answer]:
    """Step until no job is left; answers by job id."""
    answers: dict[int, Answer] = {}
    for _ in range(most):
        if not backend.busy:
            return answers
        for event in backend.step():
            answers.setdefault(event.id, Answer()).add(event)
    raise AssertionError(f"still busy after {most} steps: {answers}")


def answer(backend: Backend, job: Generate) -> Answer:
    """The answer to a job that runs alone."""
    backend.submit(job)
    return drive(backend)[job.id]


def one_step_apart(backend: Backend, *jobs: Generate) -> dict[int, Answer]:
    """Answers to jobs that join while those before them run."""
    answers = {job.id: Answer() for job in jobs}
    for job in jobs:
        backend.submit(job)
        for event in backend.step():
            answers[event.id].add(event)
    while backend.busy:
        for event in backend.step():
            answers[event.id].add(event)
    return answers

"""Jobs over HTTP: begun, listed, paused, gone on with, cancelled; taken over after a restart."""

from msgspec import to_builtins

from ollmlx import names
from ollmlx.api import converting, transfers
from ollmlx.api.answers import Answer, Whole
from ollmlx.api.creating import create as creating
from ollmlx.api.engine import Engine
from ollmlx.api.jobs import Begin, Job, Sizes
from ollmlx.api.progress import Frames
from ollmlx.errors import BadRequest, NotFound, OllmlxError
from ollmlx.store.jobfiles import KeptJob
from ollmlx.wire import live
from ollmlx.wire.decode import from_value
from ollmlx.wire.native import CreateRequest, ProgressResponse


async def jobs(engine: Engine, _: str) -> Answer:
    return Whole(live.JobsResponse([job.shown() for job in engine.jobs.list()]))


async def job(engine: Engine, job_id: str) -> Answer:
    return Whole(_found(engine, job_id).shown())


async def begin(engine: Engine, request: live.JobRequest) -> Answer:
    kind, name, work = _work(engine, request)
    return Whole((await engine.jobs.start(kind, name.display, to_builtins(request), work)).shown())


async def pause(engine: Engine, job_id: str) -> Answer:
    found = _found(engine, job_id)
    if found.status != "running":
        raise BadRequest(f"the {found.kind} of {found.model} does not run: it is {found.status}")
    found.kept = True  # who pauses means to go on
    await engine.jobs.halt(found, "paused")
    return Whole(found.shown())


async def resume(engine: Engine, job_id: str) -> Answer:
    found = _found(engine, job_id)
    if found.status == "done":
        raise BadRequest(f"the {found.kind} of {found.model} is done")
    await engine.jobs.resume(found)
    return Whole(found.shown())


async def cancel(engine: Engine, job_id: str) -> Answer:
    """Off the list; what was fetched stays for a while, so that another pull goes on from there."""
    found = _found(engine, job_id)
    await engine.jobs.forget(found)
    return Whole(found.shown())


async def adopt(engine: Engine) -> None:
    """Go on with the jobs of servers that are gone."""

    def work(kept: KeptJob) -> Begin:
        try:
            return _work(engine, from_value(kept.request, live.JobRequest))[2]
        except OllmlxError as error:
            return _failing(error)

    await engine.jobs.adopt(work)


def _failing(error: OllmlxError) -> Begin:
    """Work of a job that could be begun once and cannot now."""

    async def fail(_sizes: Sizes) -> Frames:
        yield ProgressResponse("going on")
        raise error

    return fail


def _found(engine: Engine, job_id: str) -> Job:
    found = engine.jobs.find(job_id)
    if found is None:
        raise NotFound(f"job '{job_id}' not found")
    return found


def _work(engine: Engine, request: live.JobRequest) -> tuple[live.JobKind, names.Name, Begin]:
    """A job's kind, the model that it is about, and the work.

    Raises `InvalidName` or `BadRequest`.
    """
    match request.kind:
        case "pull":
            name = transfers.pulled_name(request.model)
            return "pull", name, transfers.fetching(engine, name, request.insecure)
        case "push":
            name = names.parse(request.model)
            return "push", name, transfers.sending(engine, name, request.insecure)
        case "create":
            asked = from_value({"model": request.model, **request.request}, CreateRequest)
            return "create", *creating.making(engine, asked)
        case "convert":
            return "convert", *converting.making(engine, request)
    raise BadRequest(f"kind must be pull, push, create or convert, not {request.kind!r}")

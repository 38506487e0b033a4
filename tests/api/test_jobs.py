"""Jobs of the server: shared with plain pulls, paused, cancelled, and there after a kill."""

import asyncio
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from ollmlx.api.jobs import Halted, Jobs
from ollmlx.engine.news import News
from ollmlx.errors import OllmlxError
from ollmlx.store.jobfiles import JobFiles, KeptJob
from ollmlx.wire.native import ProgressResponse
from tests.serving import serving, talking
from tests.waiting import until

CONFIG = {"model_format": "gguf", "model_family": "llama", "file_type": "Q8_0"}
MIB = 1 << 20
JOBS = "/api/ollmlx/jobs"


@pytest.fixture
def name(registry, weights) -> str:
    registry.add("me/m", "1", CONFIG, model=weights)
    return f"{registry.host}/me/m:1"


async def begin(client: httpx.AsyncClient, name: str) -> dict:
    body = {"kind": "pull", "model": name, "insecure": True}
    return (await client.post(JOBS, json=body)).raise_for_status().json()


async def reached(client: httpx.AsyncClient, job: dict, holds: Callable[[dict], bool]) -> dict:
    """The job as soon as it is as wanted, by the stream of events."""
    async with asyncio.timeout(90), client.stream("GET", "/api/ollmlx/events") as answer:
        async for line in answer.aiter_lines():
            event = json.loads(line)
            for seen in event.get("changed", []) if event["type"] == "jobs" else []:
                if seen["id"] == job["id"] and holds(seen):
                    return seen
    raise AssertionError("the stream ended")


async def ended(client: httpx.AsyncClient, job: dict) -> dict:
    return await reached(client, job, lambda seen: seen["status"] != "running")


async def installed(client: httpx.AsyncClient) -> list[str]:
    return [model["name"] for model in (await client.get("/api/tags")).json()["models"]]


async def test_a_job_pulls_a_model_while_nobody_waits(client, name, weights):
    job = await begin(client, name)
    assert (job["kind"], job["model"]) == ("pull", name)
    # It is answered for when it has been written down: a slow disk may be behind the download.
    assert job["status"] in ("running", "done")
    done = await ended(client, job)
    assert (done["status"], done["error"]) == ("done", "")
    assert done["completed"] == done["total"] > len(weights)
    assert await installed(client) == [name]
    assert (await client.get(JOBS)).json() == {"jobs": [done]}


async def test_a_plain_pull_and_a_job_are_one_download(client, registry, name):
    registry.seconds_per_mib = 2
    pull = asyncio.ensure_future(client.post("/api/pull", json={"model": name, "insecure": True}))
    await until(lambda: registry.sent)
    listed = (await client.get(JOBS)).json()["jobs"]
    assert [(job["kind"], job["status"]) for job in listed] == [("pull", "running")]
    job = await begin(client, name)
    registry.seconds_per_mib = 0
    assert job["id"] == listed[0]["id"]
    assert (await pull).text.endswith('{"status":"success"}\n')
    assert (await ended(client, job))["status"] == "done"
    assert len(registry.asked) == 2  # the weights, and the config


async def test_nobody_works_on_a_job_of_a_closed_server_though_another_saw_its_end(tmp_path):
    followers = itertools.count()

    async def work(_: object) -> AsyncIterator[ProgressResponse]:
        first = next(followers) == 0
        yield ProgressResponse("pulling manifest")
        if first:
            await asyncio.Event().wait()

    jobs, before = Jobs(News(), JobFiles(tmp_path)), asyncio.all_tasks()
    await jobs.start("pull", "m", {}, work)
    assert len([frame async for frame in jobs.follow("pull", "m", {}, work)]) == 1
    assert [job.status for job in jobs.list()] == ["done"]
    await jobs.close()
    assert asyncio.all_tasks() == before
    assert not list(tmp_path.rglob("*.json"))


async def test_a_store_that_nobody_may_write_to_does_not_keep_a_server_from_ending(tmp_path):
    async def work(_: object) -> AsyncIterator[ProgressResponse]:
        yield ProgressResponse("pulling manifest")
        await asyncio.Event().wait()

    (no_folder := tmp_path / "file").touch()
    jobs, before = Jobs(News(), JobFiles(no_folder)), asyncio.all_tasks()
    await jobs.start("pull", "m", {}, work)
    await jobs.close()
    assert asyncio.all_tasks() == before


class SlowFiles(JobFiles):
    """Writes a failure down only when told to, and must not be asked for two things at once."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go_on, self.writing = threading.Event(), False

    def write(self, job: KeptJob) -> None:
        assert not self.writing
        self.writing = True
        assert job.status != "failed" or self.go_on.wait(10)
        super().write(job)
        self.writing = False


async def test_a_job_is_gone_on_with_while_its_end_is_being_written_down(tmp_path):
    tries, started = itertools.count(), asyncio.Event()

    async def work(_: object) -> AsyncIterator[ProgressResponse]:
        yield ProgressResponse("pulling manifest")
        await started.wait()
        if next(tries) == 0:
            raise OllmlxError("no room")

    files = SlowFiles(tmp_path)
    jobs = Jobs(News(), files)
    job = await jobs.start("pull", "m", {}, work)
    started.set()
    await job.left.wait()
    assert (job.status, job.error) == ("failed", "no room")
    resuming = asyncio.create_task(jobs.resume(job))
    await asyncio.wait([resuming], timeout=0)
    files.go_on.set()
    await resuming
    await job.left.wait()
    assert (job.status, job.error) == ("done", "")
    await jobs.close()
    assert not list(tmp_path.rglob("*.json"))


async def test_a_server_may_end_while_a_jobs_end_is_being_written_down(tmp_path):
    async def work(_: object) -> AsyncIterator[ProgressResponse]:
        yield ProgressResponse("pulling manifest")
        raise OllmlxError("no room")

    files = SlowFiles(tmp_path)
    jobs = Jobs(News(), files)
    job = await jobs.start("pull", "m", {}, work)
    await job.left.wait()
    await until(lambda: files.writing)
    closing = asyncio.create_task(jobs.close())
    await asyncio.wait([closing], timeout=0.1)
    files.go_on.set()
    await closing
    await until(lambda: not files.writing)
    assert [(left.status, left.error) for left in files.abandoned()] == [("failed", "no room")]


@pytest.mark.parametrize("kept", [True, False])
async def test_a_job_is_gone_on_with_while_it_is_being_paused(tmp_path, kept):
    async def work(_: object) -> AsyncIterator[ProgressResponse]:
        yield ProgressResponse("pulling manifest")
        await asyncio.Event().wait()

    jobs = Jobs(News(), JobFiles(tmp_path))
    plain = jobs.follow("pull", "m", {}, work)
    await anext(plain)
    (job,) = jobs.list()
    if kept:
        await jobs.resume(job)
    ending = asyncio.ensure_future(anext(plain))
    await asyncio.gather(jobs.halt(job, "paused"), jobs.resume(job))
    with pytest.raises(Halted):
        await ending
    assert job.status == "running"
    await jobs.forget(job)
    assert (job.status, jobs.list()) == ("cancelled", [])
    await jobs.close()
    assert not list(tmp_path.rglob("*.json"))


async def test_a_plain_pull_that_is_hung_up_ends_and_can_be_gone_on_with(client, registry, name):
    registry.seconds_per_mib = 1
    pull = asyncio.ensure_future(client.post("/api/pull", json={"model": name, "insecure": True}))
    await until(lambda: registry.sent > 100_000)
    pull.cancel()
    await until(lambda: registry.left)
    (job,) = (await client.get(JOBS)).json()["jobs"]
    assert job["status"] == "cancelled"
    registry.seconds_per_mib = 0
    await client.post(f"{JOBS}/{job['id']}/resume")
    assert (await ended(client, job))["status"] == "done"


async def test_a_paused_job_waits_and_goes_on_from_there(client, registry, name):
    registry.seconds_per_mib = 0.5
    job = await begin(client, name)
    await reached(client, job, lambda seen: seen["completed"] > MIB)
    registry.seconds_per_mib = 10
    paused = (await client.post(f"{JOBS}/{job['id']}/pause")).json()
    assert (paused["status"], paused["error"], paused["eta"]) == ("paused", "", None)
    await until(lambda: registry.left)
    registry.seconds_per_mib = 0
    again = (await client.post(f"{JOBS}/{job['id']}/resume")).json()
    assert again["status"] == "running"
    assert (await ended(client, job))["status"] == "done"
    first = int(registry.asked[1].removeprefix("bytes=").partition("-")[0])
    assert first >= MIB


async def test_pausing_ends_a_plain_pull_too_and_tells_it(client, registry, name):
    registry.seconds_per_mib = 1
    pull = asyncio.ensure_future(client.post("/api/pull", json={"model": name, "insecure": True}))
    await until(lambda: registry.sent > 100_000)
    (job,) = (await client.get(JOBS)).json()["jobs"]
    await client.post(f"{JOBS}/{job['id']}/pause")
    last = json.loads((await pull).text.splitlines()[-1])
    assert last == {"error": f"the pull of {name} was stopped"}


async def test_a_cancelled_job_is_off_the_list(client, registry, name):
    registry.seconds_per_mib = 1
    job = await begin(client, name)
    await until(lambda: registry.sent > 100_000)
    gone = (await client.delete(f"{JOBS}/{job['id']}")).json()
    assert gone["status"] == "cancelled"
    assert (await client.get(JOBS)).json() == {"jobs": []}
    assert (await client.delete(f"{JOBS}/{job['id']}")).status_code == 404
    assert await installed(client) == []


async def test_a_job_that_fails_says_why_and_can_be_tried_again(client, registry, weights):
    name = f"{registry.host}/me/late:1"
    failed = await ended(client, await begin(client, name))
    assert (failed["status"], failed["error"]) == (
        "failed",
        "pull model manifest: file does not exist",
    )
    registry.add("me/late", "1", CONFIG, model=weights)
    job = (await client.post(f"{JOBS}/{failed['id']}/resume")).json()
    assert (await ended(client, job))["status"] == "done"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"kind": "pull"}, "invalid model name"),
        ({"kind": "push", "model": "../x"}, "invalid model name"),
        ({"kind": "create", "request": {"files": {"/x": "y"}}}, "file path must be relative"),
        ({"kind": "convert", "model": "m"}, "source is required: the model to convert"),
        ({"kind": "steal"}, "kind must be pull, push, create or convert, not 'steal'"),
    ],
)
async def test_what_cannot_be_a_job_is_refused(client, body, error):
    answer = await client.post(JOBS, json=body)
    assert (answer.status_code, answer.json()) == (400, {"error": error})
    assert (await client.get(JOBS)).json() == {"jobs": []}


async def test_a_conversion_is_a_job_and_so_is_a_create(client, toy):
    pytest.importorskip("mlx_lm", reason="conversions need MLX's engine")
    body = {"kind": "convert", "source": str(toy.gguf), "model": "made"}
    done = await ended(client, (await client.post(JOBS, json=body)).json())
    assert (done["status"], done["error"], done["step"]) == ("done", "", "success")
    assert done["completed"] == done["total"] == toy.gguf.stat().st_size  # however many steps
    again = await ended(client, (await client.post(JOBS, json=body)).json())
    assert again["error"] == "made:latest is there already: give the new model another name"
    rounded = body | {"source": str(toy.gguf_q8), "model": "other", "quantize": "int4"}
    refused = await ended(client, (await client.post(JOBS, json=rounded)).json())
    assert refused["error"] == "quantization is only supported for F16, BF16 and F32 models"
    assert refused["completed"] == 0  # said before any work
    request = {"model": "worded", "from": "made", "system": "Be brief."}
    body = {"kind": "create", "request": request}
    done = await ended(client, (await client.post(JOBS, json=body)).json())
    assert (done["kind"], done["model"], done["status"]) == ("create", "worded:latest", "done")
    assert set(await installed(client)) == {"made:latest", "worded:latest"}


async def test_a_push_of_nothing_is_a_job_that_fails(client):
    body = {"kind": "push", "model": "127.0.0.1:9/me/none"}
    failed = await ended(client, (await client.post(JOBS, json=body)).json())
    assert failed["status"] == "failed"
    assert failed["error"].endswith("no such file or directory")


async def test_jobs_go_on_when_the_server_starts_again(registry, name, tmp_path):
    registry.seconds_per_mib = 1
    async with serving(tmp_path / "models") as client:
        running = await begin(client, name)
        await until(lambda: registry.sent > 100_000)
    registry.seconds_per_mib = 0
    async with serving(tmp_path / "models") as client:
        assert (await ended(client, running))["status"] == "done"
        assert await installed(client) == [name]
    assert not (tmp_path / "models/jobs").exists()


async def test_a_killed_server_goes_on_where_it_was(registry, name, tmp_path, weights):
    registry.seconds_per_mib = 0.7
    environment = {**os.environ, "OLLAMA_MODELS": str(tmp_path / "models")}
    environment |= {"OLLAMA_HOST": "127.0.0.1:0", "OLLMLX_EMBEDDED": "0"}
    async with serve(environment) as (client, process):
        job = await begin(client, name)
        await reached(client, job, lambda seen: seen["completed"] > 2 * MIB)
        registry.seconds_per_mib = 10
        process.send_signal(signal.SIGKILL)
        await process.wait()
    before, registry.seconds_per_mib = registry.sent, 0
    async with serve(environment) as (client, process):
        assert (await ended(client, job))["status"] == "done"
        assert await installed(client) == [name]
        process.terminate()
        await process.wait()
    missing = len(weights) - 2 * MIB
    assert registry.sent - before <= missing + MIB  # what the journal had not yet, and the config


@asynccontextmanager
async def serve(
    environment: dict[str, str],
) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.subprocess.Process]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ollmlx.cli", "serve"),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    async for line in process.stderr:
        if b"Listening on" in line:
            break
    url = "http://" + line.decode().partition("Listening on ")[2].split()[0]
    drain: Awaitable[bytes] = asyncio.ensure_future(process.stderr.read())
    async with talking(url) as client:
        yield client, process
    await drain

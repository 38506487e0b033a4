"""The real worker process under the echo backend: nobody who asks goes without an answer."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import aclosing

import psutil
import pytest

from ollmlx.engine import jobs
from ollmlx.engine.process import ModelProcess
from ollmlx.errors import LoadFailed, OllmlxError, Unavailable, WorkerDied
from tests.waiting import until


@pytest.fixture
async def process():
    started = await ModelProcess.start(load(num_parallel=8), 30)
    yield started
    await started.close()


def load(path: str = "-", kind: str = "echo", **options: object) -> jobs.Load:
    return jobs.Load(kind, path, jobs.LoadOptions(**options))


def job(text: str, **fields: object) -> jobs.Generate:
    return jobs.Generate(0, list(text.encode()), 100_000, jobs.Sampling(), **fields)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


async def say(process: ModelProcess, text: str) -> str:
    return "".join([delta.text async for delta in process.generate(job(text))])


async def test_many_jobs_are_answered_side_by_side(process):
    texts = [f"text number {n}" for n in range(16)]
    assert await asyncio.gather(*(say(process, text) for text in texts)) == texts


async def test_text_becomes_tokens_and_comes_back(process):
    assert await process.tokenize(["hé", ""]) == [[104, 195, 169], []]
    assert await process.detokenize([104, 195, 169]) == "hé"


async def test_vectors_come_in_the_order_of_the_texts(process):
    vectors = await process.embed([[1], [1, 2, 3]])
    assert vectors.tolist() == [[1, 3, 4], [3, 3, 4]]


async def test_a_failing_job_leaves_its_neighbours_alone(process):
    first, second = await asyncio.gather(
        say(process, "a?"), say(process, "a longer text"), return_exceptions=True
    )
    assert str(first) == "asked a question"
    assert second == "a longer text"


async def test_a_dying_worker_answers_everyone_who_waits(process):
    streams = [say(process, "x" * 50_000) for _ in range(8)]
    gathered = asyncio.gather(*streams, return_exceptions=True)
    async with aclosing(process.generate(job("y" * 50_000))) as deltas:
        await anext(deltas)
        os.kill(process.pid, signal.SIGKILL)
        answers = await asyncio.wait_for(gathered, 5)
    assert [type(answer) for answer in answers] == [WorkerDied] * 8
    assert "unexpectedly stopped" in str(answers[0])
    with pytest.raises(WorkerDied):
        await say(process, "anyone there?")


async def test_what_a_process_said_before_it_died_is_in_the_log(process, caplog):
    process._stdin.write(jobs.LENGTH.pack(1) + b"?")
    with pytest.raises(WorkerDied, match="ValidationError"):
        await say(process, "x" * 50_000)
    await process._listener
    assert "ended with 0" in caplog.text
    assert "Traceback" in caplog.text


async def test_closing_the_generator_cancels_the_job(process):
    async with aclosing(process.generate(job("x" * 100_000))) as deltas:
        await anext(deltas)
    # One slot of eight is free again only if the job has gone.
    assert await asyncio.gather(*(say(process, "hello") for _ in range(8))) == ["hello"] * 8


@pytest.mark.parametrize(
    ("wanted", "error", "text"),
    [
        (load("nowhere"), LoadFailed, "nothing answers at nowhere"),
        (load(kind="abacus"), LoadFailed, "unknown kind of model: abacus"),
    ],
)
async def test_a_load_that_fails_says_why(wanted, error, text):
    with pytest.raises(error, match=text):
        await ModelProcess.start(wanted, 30)


async def test_a_missing_engine_says_which_extra_to_install(monkeypatch, tmp_path):
    # A package that cannot be imported stands for one that is not installed.
    (tmp_path / "llama_cpp.py").write_text("raise ModuleNotFoundError(name='llama_cpp')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(OllmlxError, match=r"pip install 'ollmlx\[gguf\]'") as failure:
        await ModelProcess.start(load("x.gguf", "gguf"), 60)
    assert isinstance(failure.value, Unavailable | LoadFailed)


async def test_a_load_without_progress_is_given_up():
    with pytest.raises(LoadFailed, match="timed out"):
        await ModelProcess.start(load("slow"), 0.5)


async def test_a_cancelled_load_leaves_no_process():
    before = set(children())
    task = asyncio.create_task(ModelProcess.start(load("slow"), 30))
    await until(lambda: children() - before)
    (worker,) = children() - before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(worker)


def test_a_worker_ends_with_its_server():
    code = (
        "import asyncio, sys\n"
        "from ollmlx.engine import jobs\n"
        "from ollmlx.engine.process import ModelProcess\n"
        "async def main():\n"
        "    load = jobs.Load('echo', '-', jobs.LoadOptions())\n"
        "    process = await ModelProcess.start(load, 30)\n"
        "    print(process.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    with server, server.stdout:
        worker = psutil.Process(int(server.stdout.readline()))
        server.kill()
        worker.wait(timeout=10)

"""Loading, lending, evicting: with real processes under the echo backend."""

import asyncio
import gc
import os
import signal
from contextlib import AsyncExitStack

import psutil
import pytest

from ollmlx.engine import fit, jobs
from ollmlx.engine.pool import Pool, Wanted
from ollmlx.engine.process import ModelProcess
from ollmlx.errors import Busy, LoadFailed, LoadStopped
from ollmlx.settings import FOREVER, Settings
from tests.waiting import until


@pytest.fixture
async def make_pool():
    pools: list[Pool] = []

    def make(**settings: object) -> Pool:
        pools.append(Pool(Settings(**settings)))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


def wanted(
    path: str = "-", automatic: tuple[str, ...] = (), size: int = 0, **options: object
) -> Wanted:
    load = jobs.Load("echo", path, jobs.LoadOptions(num_parallel=2, **options))
    return Wanted(load, size, 0, 0, frozenset(automatic), subject=path)


async def use(pool: Pool, want: Wanted, keep_alive: float | None = None) -> int:
    async with pool.lend(want, keep_alive) as process:
        return process.pid


async def gone(pid: int) -> None:
    await until(lambda: not psutil.pid_exists(pid))


async def test_requests_at_the_same_time_load_a_model_once(make_pool):
    pool = make_pool()
    assert len(set(await asyncio.gather(*(use(pool, wanted()) for _ in range(8))))) == 1


async def test_a_model_stays_for_the_next_request(make_pool):
    pool = make_pool()
    assert await use(pool, wanted()) == await use(pool, wanted())
    assert [resident.users for resident in pool.residents()] == [0]


async def test_keep_alive_zero_unloads_when_the_request_ends(make_pool):
    pool = make_pool()
    await gone(await use(pool, wanted(), 0))
    assert pool.residents() == []


async def test_the_timer_starts_when_the_last_request_ends(make_pool):
    pool = make_pool()
    async with pool.lend(wanted(), 0.05) as process:
        async with pool.lend(wanted(), None):
            pass
        await asyncio.sleep(0.15)
        assert process.alive
    await gone(process.pid)


async def test_an_explicit_keep_alive_replaces_the_one_before_and_none_keeps_it(make_pool):
    pool = make_pool(keep_alive=1.0)
    await use(pool, wanted(), FOREVER)
    await use(pool, wanted())
    assert [resident.keep_alive for resident in pool.residents()] == [FOREVER]


async def test_unloading_waits_for_the_requests_that_run(make_pool):
    pool = make_pool()
    async with pool.lend(wanted(), None) as process:
        pool.unload("-")
        assert process.alive
    await gone(process.pid)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (wanted(num_ctx=64), wanted(num_ctx=128), False),
        (wanted(num_ctx=64), wanted(num_ctx=128, automatic=("num_ctx",)), False),
        (
            wanted(num_ctx=64, automatic=("num_ctx",)),
            wanted(num_ctx=128, automatic=("num_ctx",)),
            True,
        ),
        (wanted(num_gpu=3), wanted(num_gpu=-1), True),
        (wanted(use_mmap=True), wanted(), True),
        (wanted(num_thread=1), wanted(num_thread=2), False),
    ],
)
async def test_a_change_of_load_options_reloads(make_pool, first, second, same):
    pool = make_pool()
    assert (await use(pool, first) == await use(pool, second)) is same
    assert len(pool.residents()) == 1


async def test_a_crashed_model_is_loaded_again(make_pool):
    pool = make_pool()
    pid = await use(pool, wanted())
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not pool.residents())
    assert await use(pool, wanted()) != pid


async def test_the_idle_model_that_was_used_longest_ago_makes_room(make_pool, monkeypatch):
    pool = make_pool(max_loaded_models=2)
    real_start = ModelProcess.start

    async def start(load: jobs.Load, *rest: object) -> ModelProcess:
        # Several names for the one path that the echo backend loads.
        return await real_start(jobs.Load("echo", "-", load.options), *rest)

    monkeypatch.setattr(ModelProcess, "start", start)
    await use(pool, wanted("a"))
    await use(pool, wanted("b"))
    await use(pool, wanted("a"))
    await use(pool, wanted("c"))
    assert {resident.wanted.subject for resident in pool.residents()} == {"a", "c"}


async def test_a_full_queue_is_busy_but_a_ready_model_never_is(make_pool):
    pool = make_pool(max_queue=1, load_timeout=30)
    await use(pool, wanted())
    slow = [asyncio.create_task(use(pool, wanted("slow"))) for _ in range(2)]
    await until(lambda: pool._waiting == 2)
    with pytest.raises(Busy, match=r"try again\.  maximum"):
        await use(pool, wanted("slow", num_ctx=8))
    async with AsyncExitStack() as stack:
        for _ in range(50):
            await stack.enter_async_context(pool.lend(wanted(), None))
    await pool.close()
    assert all(
        isinstance(result, LoadStopped)
        for result in await asyncio.gather(*slow, return_exceptions=True)
    )


async def test_a_client_that_leaves_does_not_take_the_load_away(make_pool):
    pool = make_pool()
    first = asyncio.create_task(use(pool, wanted()))
    second = asyncio.create_task(use(pool, wanted()))
    await until(lambda: pool.busy)
    first.cancel()
    assert await second > 0


async def test_a_model_that_cannot_fit_is_refused_with_its_sizes(make_pool, monkeypatch):
    # The machine's memory is what is under test, so it is set.
    monkeypatch.setattr(fit, "free_memory", lambda: 8 << 30)
    monkeypatch.setattr(fit, "graphics_memory", lambda kind: 0)
    monkeypatch.setattr(fit, "free_graphics_memory", lambda kind: 0)
    with pytest.raises(
        LoadFailed, match=r"requires 10\.2 GiB but only 8\.0 GiB are .* smaller num_ctx"
    ):
        await use(make_pool(), wanted(size=10 << 30))


async def test_a_model_larger_than_the_gpu_keeps_some_layers_on_the_processor(
    make_pool, monkeypatch
):
    # A GPU of this size is what is under test.
    monkeypatch.setattr(fit, "free_graphics_memory", lambda kind: 8 << 30)
    pool = make_pool()
    load = jobs.Load("echo", "-", jobs.LoadOptions(num_parallel=1))
    small = await pool._make_room(Wanted(load, 4 << 30, 0, 32))
    large = await pool._make_room(Wanted(load, 16 << 30, 0, 32))
    told = jobs.Load("echo", "-", jobs.LoadOptions(num_parallel=1, num_gpu=9))
    asked = await pool._make_room(Wanted(told, 16 << 30, 0, 32))
    assert [m.options.num_gpu for m in (small, large, asked)] == [-1, 15, 9]


async def test_a_failed_load_is_told_to_all_who_wait_and_forgotten(make_pool):
    pool = make_pool()
    answers = await asyncio.gather(
        *(use(pool, wanted("nowhere")) for _ in range(3)), return_exceptions=True
    )
    assert [str(answer) for answer in answers] == ["nothing answers at nowhere"] * 3
    assert pool.residents() == []


def test_who_has_too_little_memory_is_told_what_needs_less():
    assert "smaller num_ctx" in fit.explained("ggml_backend: failed to allocate CUDA0 buffer")
    assert fit.explained("no such file") == "no such file"


def test_parallel_sequences_take_a_modest_part_of_memory():
    caches = (0, 31, 32, 62, 125, 126, 10**9)
    assert [fit.parallel(cache, 1000, 8) for cache in caches] == [8, 8, 4, 4, 2, 1, 1]
    assert [fit.parallel(cache, 1000, 32) for cache in (0, 7, 8, 10**9)] == [32, 32, 16, 1]


@pytest.mark.parametrize(
    ("group", "limit", "used", "whole"),
    [
        ("", "memory.max", "memory.current", ""),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ],
)
def test_a_containers_limit_counts_as_the_machines_memory(tmp_path, group, limit, used, whole):
    (tmp_path / group).mkdir(exist_ok=True)
    (tmp_path / group / limit).write_text("max\n")
    (tmp_path / group / used).write_text("700000\n")
    stat = f"anon 9\n{whole}inactive_file 50000\n{whole}active_file 25000\n"
    (tmp_path / group / "memory.stat").write_text(stat)
    assert fit.memory(tmp_path)[0] == psutil.virtual_memory().total
    (tmp_path / group / limit).write_text("1000000\n")
    assert fit.memory(tmp_path) == (1_000_000, 375_000)


def test_sequences_that_share_a_cache_need_not_be_few(monkeypatch):
    window, weights = 4096, 10 * fit.GIB
    monkeypatch.setattr(fit, "free_memory", lambda: 18 * fit.GIB)
    monkeypatch.setattr(fit, "free_graphics_memory", lambda kind: 0)
    monkeypatch.setattr(fit, "graphics_memory", lambda kind: 0)

    def of(cache_per_token, num_parallel, kind="gguf"):
        demand = fit.demand(kind, weights, cache_per_token, window, num_parallel, -1)
        assert demand.cache == demand.cells * cache_per_token
        return demand.slots, demand.cells

    assert of(1 << 10, 0) == (8, 8 * window)
    assert of(1 << 17, 0) == (8, 4 * window)  # a quarter of what is left: 2 GiB
    assert of(1 << 20, 0) == (8, window)
    assert of(1 << 20, 0, "mlx") == (1, window)
    assert of(1 << 20, 4) == (4, 4 * window)  # a number that somebody gave is for full windows
    text = str(fit.demand("gguf", weights, 1 << 17, window, 0, -1))
    assert "128 KiB a token x 16384 tokens that 8 at once share" in text


@pytest.mark.parametrize(("graphics", "num_gpu", "most"), [(0, -1, 8), (1, -1, 32), (1, 0, 8)])
def test_a_gpu_runs_more_at_once_than_a_processor(monkeypatch, graphics, num_gpu, most):
    # There is no GPU here.
    monkeypatch.setattr(fit, "graphics_memory", lambda kind: graphics << 40)
    assert fit.demand("gguf", 0, 0, 4096, 0, num_gpu).slots == most


def test_a_gpu_that_an_engine_was_not_built_for_is_none_to_it(monkeypatch, tmp_path):
    monkeypatch.setattr(fit.sys, "platform", "linux")  # an NVIDIA GPU, and a Mac has none
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 40000\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for package, files in (("plain", ["cpu"]), ("built", ["cpu", "cuda"])):
        (tmp_path / package).mkdir()
        for name in ("__init__.py", *files):
            (tmp_path / package / name).touch()
        monkeypatch.setitem(fit._BUILDS, package, (package, f"{package}/cpu", f"{package}/cuda"))
    monkeypatch.syspath_prepend(tmp_path)
    assert fit.free_graphics_memory("built") == 40000 << 20
    assert fit.free_graphics_memory("plain") == 0
    assert (fit.default_context("plain"), fit.default_context("built")) == (4096, 32768)


async def test_those_who_want_a_model_in_different_ways_all_get_it(make_pool):
    pool = make_pool()
    ways = [wanted(num_ctx=number) for number in range(100, 106)]
    used = [use(pool, way) for way in ways for _ in range(3)]
    assert len(set(await asyncio.gather(*used))) == len(ways)


async def test_a_client_that_leaves_while_it_waits_holds_nothing(make_pool):
    pool = make_pool()
    leaving = asyncio.create_task(use(pool, wanted(), FOREVER))
    await until(lambda: pool.busy)
    leaving.cancel()
    await use(pool, wanted())
    assert [resident.users for resident in pool.residents()] == [0]


async def test_a_model_that_is_always_asked_for_makes_room_all_the_same(make_pool):
    pool = make_pool()
    async with pool.lend(wanted(), None) as first:
        other = asyncio.create_task(use(pool, wanted(num_ctx=100)))
        await until(lambda: pool.residents()[0].leaving)
        again = asyncio.create_task(use(pool, wanted()))
        await until(lambda: pool.waiting == 2)
    assert first.pid not in await asyncio.gather(other, again)


async def test_a_load_that_is_stopped_leaves_the_closing_of_another_model_to_the_next(
    make_pool, monkeypatch
):
    pool, closing, may_close = make_pool(max_loaded_models=1), asyncio.Event(), asyncio.Event()
    close = ModelProcess.close

    async def slow(process: ModelProcess) -> None:  # memory of tens of GiB takes a while
        closing.set()
        await may_close.wait()
        await close(process)

    monkeypatch.setattr(ModelProcess, "close", slow)
    pid = await use(pool, wanted())
    stopped = asyncio.create_task(use(pool, wanted("other")))
    await closing.wait()
    stopping = asyncio.create_task(pool.stop("other"))
    with pytest.raises(LoadStopped):
        await stopped
    following = asyncio.create_task(use(pool, wanted()))
    await until(lambda: pool.waiting)
    may_close.set()
    assert await following
    await stopping
    await gone(pid)


async def test_a_load_that_is_stopped_before_it_begins_can_be_asked_for_again(make_pool):
    pool = make_pool()
    first = asyncio.create_task(use(pool, wanted()))
    await asyncio.sleep(0)
    await pool.stop("-")
    with pytest.raises(LoadStopped):
        await first
    assert await use(pool, wanted())


async def test_a_model_that_is_stopped_while_it_answers_is_said_to_go_once(make_pool):
    pool, told = make_pool(), list[str]()
    pool.news.listen(lambda happening: told.append(happening.kind))
    async with pool.lend(wanted(), None):
        await pool.stop("-")
    assert told == ["model_loaded", "model_unloaded"]


async def test_a_load_that_fails_when_all_have_left_is_no_error_of_the_loop(make_pool, caplog):
    caplog.set_level("CRITICAL")  # what is logged is kept, and with it the task
    told = list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what["message"]))
    pool = make_pool()
    failing = asyncio.create_task(use(pool, wanted("nowhere")))
    await until(lambda: pool.waiting)
    failing.cancel()
    await until(lambda: not pool.busy)
    del failing
    await asyncio.sleep(0)  # the loop lets go of the task
    gc.collect()
    assert told == []

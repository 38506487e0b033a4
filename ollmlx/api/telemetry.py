"""What the models do now and have done: for people, and for Prometheus.

https://prometheus.io/docs/instrumenting/exposition_formats/ is the format of /metrics.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import psutil

from ollmlx.api.answers import Answer, Whole
from ollmlx.api.engine import Engine
from ollmlx.engine import fit
from ollmlx.engine.counters import Counters
from ollmlx.engine.pool import Resident
from ollmlx.wire import live

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
_NS = 1e9


async def telemetry(engine: Engine, _: str) -> Answer:
    return Whole(measured(engine))


async def metrics(engine: Engine, _: str) -> Answer:
    return Whole("".join(map(_exposed, families(engine))), EXPOSITION)


def measured(engine: Engine) -> live.Telemetry:
    """Any thread may call it."""
    total, free = fit.memory()
    counted = list(engine.pool.counters.items())
    models = [_measured(counters, engine.pool.resident(path)) for path, counters in counted]
    return live.Telemetry(models, engine.pool.waiting, total, free)


def _measured(counters: Counters, resident: Resident | None) -> live.ModelTelemetry:
    process = resident.process if resident else None
    info, how = process.info if process else None, resident.options if resident else None
    slots = how.num_parallel if how else 0
    capacity = min(info.num_ctx * slots, how.num_cells) if info and how else 0
    outcomes = dict(counters.outcomes)
    return live.ModelTelemetry(
        model=counters.model,
        loaded=process is not None,
        running=counters.running,
        waiting=max(0, counters.running - slots) if slots else 0,
        batch=counters.batch,
        tokens_per_second=round(counters.pace, 1),
        prompt_tokens_per_second=round(counters.prompt_pace, 1),
        kv_tokens=min(counters.held_tokens, capacity),
        kv_capacity=capacity,
        memory=_resident_bytes(process.pid) if process else 0,
        size=info.size if info else 0,
        size_vram=info.size_vram if info else 0,
        requests=sum(outcomes.values()),
        failures=outcomes.get("failed", 0),
        cancelled=outcomes.get("cancelled", 0),
        prompt_tokens=counters.prompt_tokens,
        cached_tokens=counters.cached_tokens,
        generated_tokens=counters.generated_tokens,
        prompt_seconds=counters.prompt_ns / _NS,
        eval_seconds=counters.eval_ns / _NS,
        embedded_texts=counters.embedded_texts,
        steps=counters.steps,
        loads=counters.loads,
        failed_loads=counters.failed_loads,
        load_seconds=counters.load_seconds,
    )


def _resident_bytes(pid: int) -> int:
    with suppress(psutil.Error):  # it may have ended meanwhile
        return int(psutil.Process(pid).memory_info().rss)
    return 0


# -- Prometheus ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """One metric with all its series."""

    name: str
    """A counter's without `_total`."""
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...]
    samples: Sequence[tuple[tuple[str, ...], float]]
    """Values of the labels, and the value."""


_Value = Callable[[live.ModelTelemetry], float]
_OF_MODELS: tuple[tuple[str, Literal["counter", "gauge"], str, _Value], ...] = (
    ("prompt_tokens", "counter", "Tokens of prompts.", lambda m: m.prompt_tokens),
    (
        "cached_prompt_tokens",
        "counter",
        "Tokens of prompts that were in the cache already.",
        lambda m: m.cached_tokens,
    ),
    ("generated_tokens", "counter", "Tokens of answers.", lambda m: m.generated_tokens),
    ("prompt_seconds", "counter", "Time spent reading prompts.", lambda m: m.prompt_seconds),
    ("generation_seconds", "counter", "Time spent writing answers.", lambda m: m.eval_seconds),
    ("embedded_texts", "counter", "Texts embedded.", lambda m: m.embedded_texts),
    ("engine_steps", "counter", "Steps of the engine with any output.", lambda m: m.steps),
    ("model_loads", "counter", "Loads that succeeded.", lambda m: m.loads),
    ("model_load_failures", "counter", "Loads that failed.", lambda m: m.failed_loads),
    ("model_load_seconds", "counter", "Time spent loading.", lambda m: m.load_seconds),
    ("model_loaded", "gauge", "Whether the model is in memory.", lambda m: m.loaded),
    ("requests_running", "gauge", "Answers under way.", lambda m: m.running),
    ("requests_waiting", "gauge", "Answers that wait for their turn.", lambda m: m.waiting),
    ("batch_size", "gauge", "Sequences in the last step.", lambda m: m.batch),
    ("kv_cache_tokens", "gauge", "Tokens held by answers under way.", lambda m: m.kv_tokens),
    ("kv_cache_capacity_tokens", "gauge", "Tokens the cache can hold.", lambda m: m.kv_capacity),
    ("model_memory_bytes", "gauge", "Resident memory of the process.", lambda m: m.memory),
    ("model_gpu_bytes", "gauge", "Weights and caches on a GPU.", lambda m: m.size_vram),
)


def families(engine: Engine) -> Iterator[Family]:
    """Any thread may call it."""
    now = measured(engine)
    for name, kind, text, value in _OF_MODELS:
        samples = [((model.model,), float(value(model))) for model in now.models]
        yield Family(f"ollmlx_{name}", kind, text, ("model",), samples)
    outcomes = [
        ((counters.model, outcome), float(number))
        for counters in list(engine.pool.counters.values())
        for outcome, number in list(counters.outcomes.items())
    ]
    yield Family(
        "ollmlx_requests", "counter", "Answers, by how they ended.", ("model", "outcome"), outcomes
    )
    waiting = [((), float(now.waiting))]
    yield Family("ollmlx_loads_waiting", "gauge", "Requests that wait for a load.", (), waiting)
    running = [((), float(sum(job.status == "running" for job in engine.jobs.list())))]
    yield Family("ollmlx_jobs_running", "gauge", "Pulls and other jobs under way.", (), running)


def _exposed(family: Family) -> str:
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    lines = [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
    for values, number in family.samples:
        pairs = zip(family.labels, map(_escaped, values), strict=True)
        labels = ",".join(f'{label}="{value}"' for label, value in pairs)
        lines.append(f"{name}{{{labels}}} {number!r}" if labels else f"{name} {number!r}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

"""Requests and answers below /api/ollmlx: jobs, what is loaded, telemetry, estimates, the stream of
changes.

All of it is ours; every field is always written.  Sizes are bytes, times RFC 3339 text.
"""

from typing import Any, Literal

from msgspec import Struct

from ollmlx.wire.native import KeepAlive, ListedModel

JobKind = Literal["pull", "push", "create", "convert"]
JobStatus = Literal["running", "paused", "done", "failed", "cancelled"]

# -- jobs ------------------------------------------------------------------------------------------


class JobRequest(Struct):
    kind: str = "pull"
    model: str = ""
    """The name to pull or push, or the one to create."""
    insecure: bool = False
    source: str = ""
    """Of a conversion: the model it is made from."""
    quantize: str = ""
    """Of a conversion: what `convert --quantize` takes."""
    request: dict[str, Any] = {}
    """Of a create: the body of /api/create."""


class Job(Struct):
    id: str
    kind: JobKind
    model: str
    status: JobStatus
    step: str
    """What it is at, as the answer of /api/pull words it."""
    completed: int
    total: int
    """Of all its files; 0 as long as that is unknown."""
    speed: int
    """Bytes a second over the last seconds; 0 while nothing comes."""
    eta: float | None
    """Seconds; None when it cannot be told."""
    error: str
    created_at: str


class JobsResponse(Struct):
    jobs: list[Job]
    """Newest first."""


# -- what is loaded --------------------------------------------------------------------------------


class LoadRequest(Struct):
    model: str = ""
    options: dict[str, Any] = {}
    keep_alive: KeepAlive = None
    anyway: bool = False
    """Load it even where the estimate says that it does not fit."""
    stream: bool | None = None


class UnloadRequest(Struct):
    model: str = ""
    now: bool = False
    """Do not wait for the answers under way, and end a load; they are told."""


class KeepRequest(Struct):
    model: str = ""
    keep_alive: KeepAlive = None
    """Negative pins the model; None is the server's own time."""


class LiveModel(Struct):
    name: str
    digest: str
    format: str
    status: Literal["loading", "ready", "leaving"]
    fraction: float
    """Of the load."""
    users: int
    """Requests on it."""
    pinned: bool
    expires_at: str
    """Empty while it is in use, loading or pinned."""
    size: int
    size_vram: int
    context_length: int
    """Of one sequence."""
    parallel: int
    """Sequences at once."""


class LiveModels(Struct):
    models: list[LiveModel]


# -- telemetry -------------------------------------------------------------------------------------


class ModelTelemetry(Struct):
    model: str
    loaded: bool
    running: int
    """Answers being written or read for."""
    waiting: int
    """Requests that wait for one of these to end."""
    batch: int
    """Sequences in the last step."""
    tokens_per_second: float
    """Of all sequences together, over the last two seconds."""
    prompt_tokens_per_second: float
    """Of the last answer."""
    kv_tokens: int
    """Held by answers under way."""
    kv_capacity: int
    memory: int
    """Resident bytes of its process."""
    size: int
    size_vram: int
    requests: int
    failures: int
    cancelled: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    prompt_seconds: float
    eval_seconds: float
    embedded_texts: int
    steps: int
    loads: int
    failed_loads: int
    load_seconds: float


class Telemetry(Struct):
    models: list[ModelTelemetry]
    waiting: int
    """Requests that wait for a load."""
    memory_total: int
    memory_free: int


# -- estimates, and what there is to pull ----------------------------------------------------------


class EstimateRequest(Struct):
    model: str = ""
    num_ctx: int = 0
    num_parallel: int = 0
    num_gpu: int = -1
    insecure: bool = False


class EstimateResponse(Struct):
    model: str
    installed: bool
    weights: int
    cache_per_token: int | None
    """None for a model that is not here yet: its header tells."""
    num_ctx: int
    num_parallel: int
    cache: int
    overhead: int
    needed: int
    free: int
    on_gpu: bool
    """Whether `free` is the memory of GPUs."""
    fits: bool
    loaded: bool
    """It is loaded already, so that `free` is what is left beside it."""
    download: int
    """Bytes still to fetch."""
    disk_free: int
    arithmetic: str


class SearchRequest(Struct):
    q: str = ""
    limit: int = 20


class Found(Struct):
    name: str
    """What to pull."""
    source: Literal["curated", "hub"]
    format: str
    """`mlx`, `gguf`, or empty."""
    parameters: str
    size: int
    """To fetch, roughly; 0 where nobody says."""
    downloads: int
    likes: int
    updated_at: str
    gated: bool


class SearchResponse(Struct):
    models: list[Found]
    hub_error: str
    """Why the hub could not be asked; empty when it was."""


# -- the stream of changes -------------------------------------------------------------------------


class EventsRequest(Struct):
    sse: bool = False
    """Named server-sent events instead of lines."""


class JobsChanged(Struct):
    whole: bool
    """Nothing else is there: the first of its type."""
    changed: list[Job]
    removed: list[str]
    """Ids."""
    type: str = "jobs"


class ModelsChanged(Struct):
    whole: bool
    changed: list[ListedModel]
    removed: list[str]
    """Names."""
    type: str = "models"


class RunningChanged(Struct):
    whole: bool
    changed: list[LiveModel]
    removed: list[str]
    type: str = "running"


class TelemetryChanged(Struct):
    telemetry: Telemetry
    type: str = "telemetry"


class Ping(Struct):
    """Nothing has changed for a while, and the connection stands."""

    type: str = "ping"


Change = JobsChanged | ModelsChanged | RunningChanged | TelemetryChanged | Ping

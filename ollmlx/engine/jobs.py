"""What crosses the pipe between the server and a model's process.

Server to worker: one command a frame, the first of them `Load`.  Worker to server: one frame an
engine step, holding the events of all sequences, so the pipe costs by the step and not by the
token.  A frame is a little-endian uint32 length and that many bytes of MessagePack.
"""

import struct
from typing import Literal

from msgspec import Struct, msgpack

Finish = Literal["stop", "length"]
LENGTH = struct.Struct("<I")


class LoadOptions(Struct, frozen=True):
    """How a model is loaded; a change of any of these reloads it.  None and 0 leave the choice to
    the engine.
    """

    num_ctx: int = 4096
    """Tokens one sequence may hold, prompt and answer together."""
    num_parallel: int = 1
    """Sequences that run at once."""
    num_cells: int = 0
    """Tokens that the caches of all sequences hold together; 0 is `num_ctx` for each."""
    num_batch: int = 512
    """Prompt tokens in one prefill chunk."""
    num_gpu: int = -1
    """Layers on the GPU; -1 is as many as fit, 0 is CPU only."""
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int = 0
    kv_cache_type: str = "f16"
    flash_attention: bool | None = None
    adapters: tuple[str, ...] = ()
    """Paths of LoRA adapters, applied at full strength."""
    projector: str = ""
    """Path of what the model sees and hears through; empty where that is nothing."""


class Sampling(Struct, frozen=True):
    """Ollama's sampling options with Ollama's defaults."""

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    """Tokens the penalties look back on: 0 is off, -1 is the whole context."""
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    """What is added to the logits of tokens, by id; not Ollama's."""
    seed: int = -1
    """Negative is a fresh random seed; otherwise the same text, alone or in a batch."""


class Load(Struct, tag="load", frozen=True):
    backend: str
    path: str
    options: LoadOptions


class Medium(Struct, frozen=True):
    """An image or a sound in a prompt."""

    file: bytes
    """As it lies on a disk: PNG, JPEG, WAV, …"""
    tokens: list[int]
    """What stands for it in the prompt, as `Look` was answered: marks, and `media.run`s."""


class Generate(Struct, tag="generate", frozen=True):
    id: int
    prompt: list[int]
    """Token ids, non-empty and shorter than `num_ctx`; negative where `media` are."""
    max_tokens: int
    """Tokens to generate at most, at least 1."""
    sampling: Sampling
    stop: list[str] = []
    """Texts that end the answer and are not part of it."""
    grammar: str = ""
    """A llguidance grammar (`LLMatcher` text); empty is unconstrained."""
    logprobs: int | None = None
    """None: none.  n ≥ 0: of each token, and of the n likeliest beside it."""
    num_keep: int = 4
    """Tokens at the start that a context shift never drops."""
    shift: bool = True
    """At a full window: drop the older half and go on, or end with `length`."""
    media: list[Medium] = []


class Embed(Struct, tag="embed", frozen=True):
    id: int
    inputs: list[list[int]]
    """Token ids of each text, special tokens included; none longer than `num_ctx`."""


class Tokenize(Struct, tag="tokenize", frozen=True):
    id: int
    texts: list[str]
    special: bool = True
    """Whether the model's own begin and end tokens are added."""


class Detokenize(Struct, tag="detokenize", frozen=True):
    id: int
    tokens: list[int]


class Look(Struct, tag="look", frozen=True):
    """What images and sounds are in a prompt: answered with `Tokens`, one list for each."""

    id: int
    files: list[bytes]


class Cancel(Struct, tag="cancel", frozen=True):
    id: int
    """Unknown ids are ignored: the job may have just finished."""


Command = Load | Generate | Embed | Tokenize | Detokenize | Look | Cancel


class Ranking(Struct, frozen=True):
    """How a cross-encoder reads a query and a document, which are tokens here."""

    before: list[int] = []
    between: list[int] = []
    after: list[int] = []
    template: str = ""
    """A model's own text instead, with `{query}` and `{document}`."""


class ModelInfo(Struct, frozen=True):
    """What a loaded model turned out to be."""

    num_ctx: int
    """Tokens one sequence may hold: as asked for, or the model's own limit where that is less."""
    num_vocab: int
    size: int
    """Bytes of weights and caches."""
    size_vram: int
    """The part of `size` on a GPU."""
    bos: str = ""
    """Text of the begin token, as chat templates want it."""
    eos: str = ""
    adds_bos: bool = False
    """Whether tokenizing adds the begin token, so a template that writes it too would double it."""
    can_generate: bool = True
    can_shift: bool = True
    """Whether generation may go on past a full window."""
    ranking: Ranking | None = None
    """What a query and a document need around them; None for a model that does not rank."""


class Progress(Struct, tag="progress", frozen=True):
    fraction: float


class Loaded(Struct, tag="loaded", frozen=True):
    info: ModelInfo


class TokenLogprob(Struct, frozen=True):
    token: bytes
    logprob: float
    top: list[tuple[bytes, float]] = []


class Usage(Struct, frozen=True):
    """Sent with a job's last delta.  Durations in nanoseconds."""

    prompt_tokens: int
    cached_tokens: int
    """Of the prompt's tokens, those whose state was reused from an earlier request."""
    prompt_ns: int
    tokens: int
    eval_ns: int


class Delta(Struct, tag="delta", frozen=True):
    """What one sequence gained in a step; text may be empty while a character or a stop text is
    incomplete.
    """

    id: int
    text: str = ""
    tokens: list[int] = []
    logprobs: list[TokenLogprob] = []
    finish: Finish | None = None
    usage: Usage | None = None


class Failed(Struct, tag="failed", frozen=True):
    """The one job `id` ended in an error, or with id -1 the load did."""

    id: int
    reason: str
    status: int = 500


class Tokens(Struct, tag="tokens", frozen=True):
    id: int
    tokens: list[list[int]]


class Text(Struct, tag="text", frozen=True):
    id: int
    text: str


class Embedded(Struct, tag="embedded", frozen=True):
    id: int
    dimensions: int
    vectors: bytes
    """float32, little-endian, row after row; as the model pooled them, not normalised."""


Event = Progress | Loaded | Delta | Failed | Tokens | Text | Embedded

encode = msgpack.Encoder().encode
decode_command = msgpack.Decoder(Command).decode
decode_events = msgpack.Decoder(list[Event]).decode


def frame(message: Command | list[Event]) -> bytes:
    body = encode(message)
    return LENGTH.pack(len(body)) + body

"""Pictures in the batch of MLX models: it writes what mlx-vlm writes with one request at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("mlx_vlm", reason="MLX models see through mlx-vlm, of the extra `vision`")
from mlx_vlm.generate import generate_step

from ollmlx import sight
from ollmlx.engine.jobs import Generate, LoadOptions, Medium
from ollmlx.engine.mlx import MlxBackend
from tests.engine.answers import GREEDY, Answer, answer
from tests.toy_mlx_vision import SPECIAL, make_seeing_mlx
from tests.toy_vision import picture

Open = Callable[..., MlxBackend]
Part = str | bytes
"""Of a prompt: a text or a picture's file."""
CAT, DOG = picture(1), picture(2, 16, 24)


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder, made = tmp_path_factory.mktemp("mlx"), dict[str, Path]()

    def make(family: str) -> Path:
        if family not in made:
            made[family] = make_seeing_mlx(folder / family, family)
        return made[family]

    return make


@pytest.fixture(params=list(SPECIAL))
def toy(toys: Callable[[str], Path], request: pytest.FixtureRequest) -> Path:
    return toys(str(request.param))


@pytest.fixture
def opened() -> Iterator[Open]:
    backends: list[MlxBackend] = []

    def open_folder(folder: Path, **options: Any) -> MlxBackend:
        wanted = LoadOptions(**({"num_ctx": 512, "num_parallel": 4} | options))
        backends.append(MlxBackend(str(folder), wanted, lambda fraction: None))
        return backends[-1]

    yield open_folder
    for backend in backends:
        backend.close()


def asked(
    backend: MlxBackend, id: int, *parts: Part, max_tokens: int = 12, **rest: Any
) -> Generate:
    prompt, shown = list[int](), list[Medium]()
    for part in parts:
        if isinstance(part, bytes):
            shown.append(Medium(part, backend.look([part])[0]))
            prompt += shown[-1].tokens
        else:
            prompt += backend.tokenize(part, False)
    return Generate(id, prompt, max_tokens, **({"sampling": GREEDY} | rest), media=shown)


def one_step_apart(backend: MlxBackend, *jobs: Generate) -> dict[int, Answer]:
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


def reference(backend: MlxBackend, *parts: Part, count: int = 12) -> list[int]:
    """Greedy tokens by mlx-vlm's own loop, which knows one sequence."""
    sight = backend._sight
    assert sight is not None
    eyes = sight._eyes
    text = "".join(eyes._mark if isinstance(part, bytes) else part for part in parts)
    files = [_opened(part) for part in parts if isinstance(part, bytes)]
    inputs = dict(eyes._processor(text=[text], **({"images": files} if files else {})))
    ids, pixels = inputs.pop("input_ids"), inputs.pop("pixel_values", None)
    mask = inputs.pop("attention_mask", None)
    for state in ("_rope_deltas", "_position_ids"):  # it remembers the last sequence otherwise
        if hasattr(sight.language_model, state):
            setattr(sight.language_model, state, None)
    steps = generate_step(
        ids, sight.whole, pixels, mask, max_tokens=count, temperature=0.0, **inputs
    )
    tokens = []
    for token, _ in steps:
        if int(token) in backend._words.ends:
            break
        tokens.append(int(token))
    return tokens


def _opened(file: bytes) -> Image.Image:
    from io import BytesIO

    return Image.open(BytesIO(file)).convert("RGB")


def test_a_toy_is_made_of_every_family_that_sees():
    assert set(SPECIAL) == set(sight.MARKS)


def test_it_writes_what_mlx_vlm_writes(toy: Path, opened: Open):
    backend = opened(toy)
    for id, parts in enumerate((("hi ", CAT, " there"), (DOG, "a", CAT, "b"), ("hello",))):
        assert answer(backend, asked(backend, id, *parts)).tokens == reference(backend, *parts)


def test_neighbours_write_what_they_write_alone(toy: Path, opened: Open):
    backend = opened(toy, num_batch=3)
    prompts = (("hi ", CAT, " there"), ("a long way to say hello",), (DOG, "a", CAT, "b"))
    alone = [reference(backend, *parts, count=20) for parts in prompts]
    jobs = [asked(backend, id, *parts, max_tokens=20) for id, parts in enumerate(prompts)]
    answers = one_step_apart(backend, *jobs)
    assert [answers[id].tokens for id in range(3)] == alone

"""Pictures in the batch of MLX models: it writes what mlx-vlm writes with one request at a time."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import mlx.core as mx
import pytest
from PIL import Image

pytest.importorskip("mlx_vlm", reason="MLX models see through mlx-vlm, of the extra `vision`")
from mlx_vlm.generate import generate_step

from ollmlx import sight
from ollmlx.engine.jobs import Delta, Embed, Generate, Medium, Sampling
from ollmlx.engine.mlx import backend as mlx
from ollmlx.engine.mlx.backend import MlxBackend
from ollmlx.errors import BadRequest, LoadFailed
from tests.engine.answers import GREEDY, answer, cached, drive, one_step_apart
from tests.engine.asking import Part, asked
from tests.toy_mlx_vision import SPECIAL, VISION, make_seeing_mlx
from tests.toy_vision import enormous, picture

Open = Callable[..., MlxBackend]
Toys = Callable[[str], Path]
"""A folder by the name of its family."""
CAT, DOG = picture(1), picture(2, 16, 24)


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Toys:
    folder, made = tmp_path_factory.mktemp("mlx"), dict[str, Path]()

    def make(family: str) -> Path:
        if family not in made:
            made[family] = make_seeing_mlx(folder / family, family)
        return made[family]

    return make


@pytest.fixture(params=list(SPECIAL))
def toy(toys: Toys, request: pytest.FixtureRequest) -> Path:
    return toys(str(request.param))


@pytest.fixture
def opened(mlx: Open) -> Open:
    return mlx


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


def until(backend: MlxBackend, id: int) -> Iterator[Delta]:
    """The rest of one answer, while others go on."""
    while True:
        for event in backend.step():
            if event.id == id:
                assert isinstance(event, Delta)
                yield event
                if event.finish:
                    return


def _opened(file: bytes) -> Image.Image:
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


def test_the_next_turn_reuses_a_picture_and_another_picture_is_seen(toy: Path, opened: Open):
    backend = opened(toy, num_parallel=1)
    one = asked(backend, 1, "Look: ", CAT, " what?")
    said = answer(backend, one)
    turn = ("Look: ", CAT, " what?", " And the colour?")
    again = answer(backend, asked(backend, 2, *turn))
    assert again.tokens == reference(backend, *turn)
    # What cannot be cut is kept a little before the end.
    assert cached(again) >= len(one.prompt) - (0 if backend._cuttable else 16)
    other = answer(backend, asked(backend, 3, "Look: ", DOG, " what?"))
    assert other.tokens == reference(backend, "Look: ", DOG, " what?")
    assert other.tokens != said.tokens
    assert cached(other) <= next(i for i, token in enumerate(one.prompt) if token < 0)


def test_a_picture_that_was_read_is_not_encoded_again(toys: Toys, opened: Open):
    backend = opened(toys("smolvlm"))
    answer(backend, asked(backend, 1, "Look: ", CAT, " what?"))
    assert backend._sight is not None
    encoded = backend._sight._eyes._encoded
    encoded.clear()
    answer(backend, asked(backend, 2, "Look: ", CAT, " what?", DOG, " and that?"))
    assert len(encoded) == 1
    (dog,) = encoded.values()
    answer(backend, asked(backend, 3, "And ", DOG))
    assert list(encoded.values()) == [dog]


def test_a_picture_is_encoded_layer_by_layer(toy: Path, opened: Open):
    backend = opened(toy)
    assert backend._sight is not None
    shown = asked(backend, 1, CAT).media[0]
    whole = backend._sight.encode(shown, 60)
    assert whole is not None
    backend._sight._eyes._encoded.clear()
    parts = 0
    while (pieces := backend._sight.encode(shown, 0)) is None:
        parts += 1
    assert parts == 1 + VISION["num_hidden_layers"]
    assert pieces.keys() == whole.keys()
    for piece, other in zip(pieces.values(), whole.values(), strict=True):
        assert mx.array_equal(piece.vectors, other.vectors)
        assert len(piece.deep) == len(other.deep)


def test_answers_go_on_while_a_picture_is_encoded(
    toys: Toys, opened: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mlx, "_LOOK_SECONDS", 0.0)  # as if each layer took long
    backend = opened(toys("qwen3_vl"))
    jobs = asked(backend, 1, "hello", max_tokens=20), asked(backend, 2, "a", CAT)
    backend.submit(jobs[0])
    backend.step()
    backend.submit(jobs[1])
    waited = 0
    while 2 not in {row.job.id for row in backend._live.values()}:
        assert [event.id for event in backend.step()] in ([1], [])
        waited += 1
    assert waited > VISION["num_hidden_layers"]
    said = drive(backend)[2].tokens
    assert said == reference(backend, "a", CAT)


def test_who_shows_a_picture_lets_others_pass_while_it_is_encoded(
    toys: Toys, opened: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mlx, "_LOOK_SECONDS", 0.0)  # as if each layer took long
    backend = opened(toys("gemma3"))
    for job in (asked(backend, 1, "a", CAT), asked(backend, 2, DOG), asked(backend, 3, "hello")):
        backend.submit(job)
    backend.step()
    assert [row.job.id for row in backend._live.values()] == [3]
    answers = drive(backend)
    assert answers[1].tokens == reference(backend, "a", CAT)
    assert answers[2].tokens == reference(backend, DOG)
    assert answers[3].tokens


def test_a_picture_that_nobody_waits_for_any_more_is_in_nobodys_way(
    toys: Toys, opened: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mlx, "_LOOK_SECONDS", 0.0)  # as if each layer took long
    backend = opened(toys("llava"))
    backend.submit(asked(backend, 1, "a", CAT))
    backend.step()
    backend.cancel(1)
    assert answer(backend, asked(backend, 2, "a", DOG)).tokens == reference(backend, "a", DOG)
    assert answer(backend, asked(backend, 3, "a", CAT)).tokens == reference(backend, "a", CAT)


def test_a_prompt_may_end_with_a_picture(toy: Path, opened: Open):
    backend = opened(toy)
    first, again = [answer(backend, asked(backend, id, "Look: ", CAT)) for id in (1, 2)]
    assert first.tokens == again.tokens == reference(backend, "Look: ", CAT)


def test_a_picture_is_read_on_from_its_middle(toy: Path, opened: Open):
    backend = opened(toy, num_batch=1)
    parts = ("Look: ", CAT, " what?", DOG, " and that?")
    expected = reference(backend, *parts)
    endless = Sampling(temperature=0, logit_bias=dict.fromkeys(backend._words.ends, -100.0))
    backend.submit(asked(backend, 1, "endless words", max_tokens=400, sampling=endless))
    backend.step()
    for steps in (4, 9, 13, 14, 15, 20, 30):
        backend.submit(asked(backend, 2, *parts))
        for _ in range(steps):
            backend.step()
        backend.cancel(2)
        backend.submit(asked(backend, 3, *parts))
        assert [token for delta in until(backend, 3) for token in delta.tokens] == expected
        backend._prefixes.clear()


def test_pictures_count_for_no_penalty(toys: Toys, opened: Open):
    backend = opened(toys("llava"))
    sampling = Sampling(temperature=0, repeat_last_n=-1, repeat_penalty=1.5, presence_penalty=1)
    jobs = [asked(backend, id, "a", CAT, "b", sampling=sampling, logprobs=2) for id in (1, 2)]
    answers = one_step_apart(backend, *jobs)
    assert answers[1].tokens == answers[2].tokens
    assert len(set(answers[1].tokens)) == 12


def test_an_answer_about_a_picture_ends_at_a_full_window(toys: Toys, opened: Open):
    backend = opened(toys("llava"), num_ctx=40)
    job = asked(backend, 1, "Look: ", CAT, max_tokens=500)
    ended = answer(backend, job)
    assert ended.finish == "length"
    assert len(job.prompt) + len(ended.tokens) == 40


@pytest.mark.parametrize("layout", ["jpeg", "webp", "gif", "bmp"])
def test_pictures_come_in_many_formats(toys: Toys, opened: Open, layout: str):
    (tokens,) = opened(toys("llava")).look([picture(1, layout=layout)])
    assert len(tokens) == 16


@pytest.mark.parametrize("file", [b"", b"no image", CAT[:60], b"RIFF....WEBPVP8 broken"])
def test_what_is_no_picture_is_refused(toys: Toys, opened: Open, file: bytes):
    with pytest.raises(BadRequest, match="Failed to load image"):
        opened(toys("llava")).look([file])


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_read(toys: Toys, opened: Open):
    with pytest.raises(BadRequest, match="Failed to load image"):
        opened(toys("llava")).look([enormous()])


def test_a_file_becomes_pixels_once(toys: Toys, opened: Open):
    backend = opened(toys("qwen2_vl"))
    job = asked(backend, 1, "a", CAT, "b")
    expected = reference(backend, "a", CAT, "b")
    assert backend._sight is not None
    backend._sight._eyes._processor = None  # the first look was enough
    assert answer(backend, job).tokens == expected


def test_a_picture_that_the_model_cannot_take_is_refused(toys: Toys, opened: Open):
    with pytest.raises(BadRequest, match="cannot take this picture"):
        opened(toys("qwen2_5_vl")).look([picture(1, 400, 1)])


def test_a_picture_that_cannot_be_encoded_fails_alone(toys: Toys, opened: Open):
    backend = opened(toys("llava"))
    broken = asked(backend, 1, "a", CAT)
    jobs = [Generate(1, broken.prompt, 9, GREEDY, media=[Medium(b"", broken.media[0].tokens)])]
    answers = one_step_apart(backend, *jobs, asked(backend, 2, "hello"))
    assert answers[1].failed is not None
    assert "failed to encode the image" in answers[1].failed.reason
    assert answers[2].tokens == reference(backend, "hello")


def test_texts_are_embedded_beside_pictures(toys: Toys, opened: Open):
    backend = opened(toys("qwen2_vl"))
    backend.submit(asked(backend, 1, "a", CAT))
    backend.embed(Embed(2, [backend.tokenize("some words", False)]))
    answers = drive(backend)
    assert answers[2].embedded is not None
    assert answers[1].tokens == reference(backend, "a", CAT)


def test_code_of_the_folder_is_not_run(toys: Toys, opened: Open, tmp_path: Path):
    folder = Path(shutil.copytree(toys("llava"), tmp_path / "model"))
    (folder / "evil.py").write_text("raise SystemExit('code of the folder was run')")
    config = json.loads((folder / "config.json").read_text())
    remote = {"auto_map": {"AutoProcessor": "evil.P"}, "model_file": "evil.py"}
    (folder / "config.json").write_text(json.dumps(config | remote))
    assert answer(opened(folder), asked(opened(folder), 1, "a", CAT)).tokens


def test_frequencies_are_found_where_newer_configurations_have_them(
    toys: Toys, opened: Open, tmp_path: Path
):
    folder = Path(shutil.copytree(toys("smolvlm"), tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    text = config["text_config"]
    text |= {"rope_parameters": {"rope_type": "default", "rope_theta": text.pop("rope_theta")}}
    (folder / "config.json").write_text(json.dumps(config))
    old, new = opened(toys("smolvlm")), opened(folder)
    job = asked(old, 1, "Look: ", CAT, " what is on it, and what colour has it?")
    assert answer(new, job).tokens == answer(old, job).tokens


def test_a_model_without_its_eyes_reads_text(toys: Toys, opened: Open, tmp_path: Path):
    folder = Path(shutil.copytree(toys("gemma3"), tmp_path / "model"))
    weights = mx.load(str(folder / "model.safetensors"))
    text = {name: array for name, array in weights.items() if name.startswith("language_model")}
    mx.save_safetensors(str(folder / "model.safetensors"), text, {"format": "mlx"})
    backend = opened(folder)
    assert answer(backend, asked(backend, 1, "hello")).tokens
    with pytest.raises(BadRequest, match="left out what it saw through"):
        backend.look([CAT])


def test_without_mlx_vlm_the_extra_is_named(
    toys: Toys, opened: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "mlx_vlm", None)  # as if it were not installed
    with pytest.raises(BadRequest, match=r"pip install 'ollmlx\[vision\]'"):
        opened(toys("gemma3")).look([CAT])
    with pytest.raises(LoadFailed, match=r"pip install 'ollmlx\[vision\]'"):
        opened(toys("smolvlm"))

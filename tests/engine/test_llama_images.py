"""Images in the batch: it writes what llama.cpp's own helper does with one request at a time."""

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_cpp import llama_cpp as llama
from llama_cpp import mtmd_cpp as mtmd

from ollmlx.engine import media
from ollmlx.engine.jobs import Generate, LoadOptions, Medium
from ollmlx.engine.llama.backend import LlamaCppBackend
from ollmlx.errors import BadRequest, LoadFailed
from tests.engine.answers import GREEDY, Answer, answer, cached, drive, one_step_apart
from tests.engine.asking import Part, asked
from tests.toy import ToyModels
from tests.toy_hearing import make_hearing, sound
from tests.toy_vision import KINDS, Sees, enormous, make_one_file, make_seeing, picture

Open = Callable[..., LlamaCppBackend]


@pytest.fixture(scope="session")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sees]:
    folder, made = tmp_path_factory.mktemp("seeing"), dict[str, Sees]()

    def make(kind: str) -> Sees:
        if kind not in made:
            made[kind] = make_seeing(folder, kind)
        return made[kind]

    return make


@pytest.fixture(params=list(KINDS))
def sees(seeing: Callable[[str], Sees], request: pytest.FixtureRequest) -> Sees:
    return seeing(str(request.param))


@pytest.fixture
def opened(llama: Open, saving: None) -> Open:
    def open_seeing(sees: Sees, **options: Any) -> LlamaCppBackend:
        return llama(
            sees.model, **({"num_parallel": 4, "projector": str(sees.projector)} | options)
        )

    return open_seeing


def reference(sees: Sees, *parts: Part, count: int = 12) -> list[int]:
    """Greedy tokens by `mtmd_helper_eval_chunks`, on a context of its own."""
    model = llama.llama_model_load_from_file(
        str(sees.model).encode(), llama.llama_model_default_params()
    )
    params: Any = llama.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 512, 1, 1
    params.type_k = params.type_v = llama.GGML_TYPE_F32
    context = llama.llama_init_from_model(model, params)
    settings: Any = mtmd.mtmd_context_params_default()
    settings.use_gpu, settings.n_threads, settings.warmup = False, 1, False
    eyes = mtmd.mtmd_init_from_file(str(sees.projector).encode(), model, settings)
    text = b"".join(
        mtmd.mtmd_default_marker() if isinstance(p, bytes) else p.encode() for p in parts
    )
    files = [part for part in parts if isinstance(part, bytes)]
    bitmaps = (mtmd.mtmd_bitmap_p_ctypes * len(files))(*[_bitmap(eyes, file) for file in files])
    chunks = mtmd.mtmd_input_chunks_init()
    asked = mtmd.mtmd_input_text(text, len(text), False, True)
    assert not mtmd.mtmd_tokenize(eyes, chunks, ctypes.byref(asked), bitmaps, len(files))
    position = llama.llama_pos(0)
    assert not mtmd.mtmd_helper_eval_chunks(
        eyes, context, chunks, 0, 0, 512, True, ctypes.byref(position)
    )
    tokens = _greedy(context, model, position.value, count)
    mtmd.mtmd_free(eyes)
    llama.llama_free(context)
    llama.llama_model_free(model)
    return tokens


def _bitmap(eyes: Any, file: bytes) -> Any:
    buffer = (ctypes.c_uint8 * len(file)).from_buffer_copy(file)
    options = mtmd.mtmd_helper_init_opt_default()
    return mtmd.mtmd_helper_bitmap_init_from_buf_wrapper(
        eyes, buffer, len(file), False, options
    ).bitmap


def _greedy(context: Any, model: Any, position: int, count: int) -> list[int]:
    vocabulary, tokens = llama.llama_model_get_vocab(model), list[int]()
    sampler = llama.llama_sampler_init_greedy()
    batch = llama.llama_batch_init(1, 0, 1)
    while len(tokens) < count:
        token = llama.llama_sampler_sample(sampler, context, -1)
        if llama.llama_vocab_is_eog(vocabulary, token):
            break
        tokens.append(token)
        batch.n_tokens, batch.token[0], batch.pos[0] = 1, token, position
        batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, 0, 1
        assert not llama.llama_decode(context, batch)
        position += 1
    llama.llama_batch_free(batch)
    llama.llama_sampler_free(sampler)
    return tokens


def test_an_image_is_answered_as_by_llama_cpps_own_helper(opened: Open, sees: Sees) -> None:
    parts = ("Look: ", picture(1), " what is it?")
    backend = opened(sees)
    assert answer(backend, asked(backend, 1, *parts)).tokens == reference(sees, *parts)


def test_several_images_beside_other_streams_change_nothing(opened: Open, sees: Sees) -> None:
    prompts: list[tuple[Part, ...]] = [
        ("First ", picture(1), picture(2, 32, 32), " and ", picture(1), "?"),
        ("only words, and some more of them",),
        ("a wide one ", picture(3, 16, 40), "."),
        (picture(4), "begins with one"),
    ]
    backend = opened(sees)
    answers = one_step_apart(backend, *(asked(backend, i, *p) for i, p in enumerate(prompts)))
    for number, parts in enumerate(prompts):
        assert answers[number].tokens == reference(sees, *parts), parts


def test_the_next_turn_reuses_an_image_and_another_image_is_seen(opened: Open, sees: Sees) -> None:
    backend = opened(sees, num_parallel=1)
    first, second = picture(1), picture(2)
    one = asked(backend, 1, "Look: ", first, " what?")
    said = answer(backend, one)
    turn = asked(backend, 2, "Look: ", first, " what?", " And the colour?")
    again = answer(backend, turn)
    assert cached(again) == len(one.prompt)
    assert again.tokens == reference(sees, "Look: ", first, " what?", " And the colour?")
    other = answer(backend, asked(backend, 3, "Look: ", second, " what?"))
    before = asked(backend, 0, "Look: ", second).prompt
    assert cached(other) == next(i for i, t in enumerate(before) if t < 0)
    assert other.tokens == reference(sees, "Look: ", second, " what?")
    assert other.tokens != said.tokens


def test_a_parked_image_comes_back(opened: Open, sees: Sees) -> None:
    backend = opened(sees, num_parallel=1)
    parts = ("Look: ", picture(1), " what?")
    answer(backend, asked(backend, 1, *parts))
    answer(backend, asked(backend, 2, "something else that is longer than the other was"))
    again = answer(backend, asked(backend, 3, *parts))
    assert cached(again) == len(asked(backend, 0, *parts).prompt) - 1
    assert again.tokens == reference(sees, *parts)


def test_an_image_that_ends_a_prompt_is_never_cut(opened: Open, sees: Sees) -> None:
    backend = opened(sees, num_parallel=1)
    parts = ("Look: ", picture(1))
    first = answer(backend, asked(backend, 1, *parts))
    again = answer(backend, asked(backend, 2, *parts))
    prompt = asked(backend, 0, *parts).prompt
    ends_in_text = prompt[-1] >= 0  # the mark behind the image
    start = len(prompt) - 1 if ends_in_text else media.last_begins(prompt)
    assert cached(again) == start
    assert again.tokens == first.tokens


def test_a_large_image_is_read_in_parts_beside_answers(
    opened: Open, seeing: Callable[[str], Sees]
) -> None:
    sees = seeing("grid")
    backend = opened(sees, num_batch=16)
    large = picture(5, 96, 96)
    words = asked(backend, 1, "endless words", max_tokens=60)
    answers = one_step_apart(backend, words, asked(backend, 2, "Look: ", large, " what?"))
    assert answers[2].tokens == reference(sees, "Look: ", large, " what?")
    assert answers[1].tokens == reference(sees, "endless words", count=60)


def test_answers_go_on_while_an_image_is_encoded(
    opened: Open, seeing: Callable[[str], Sees]
) -> None:
    backend = opened(seeing("plain"))
    encoded = threading.Event()
    assert backend._media
    backend._media._thread.submit(encoded.wait)  # as long as an image before it takes
    backend.submit(asked(backend, 1, "Look: ", picture(1), " what?"))
    backend.submit(asked(backend, 2, "words"))
    written = Answer()
    while not written.finish:
        for event in backend.step():
            assert event.id == 2
            written.add(event)
    encoded.set()
    assert drive(backend)[1].finish


def test_the_same_image_is_encoded_once(opened: Open, seeing: Callable[[str], Sees]) -> None:
    backend = opened(seeing("plain"))
    assert backend._media
    jobs = [asked(backend, i, f"{i}: ", picture(1), " what?") for i in range(3)]
    futures = [backend._media.encode(job.media[0]) for job in jobs]
    assert len(set(map(id, futures))) == 1


def test_an_answer_about_an_image_ends_at_a_full_window(
    opened: Open, seeing: Callable[[str], Sees]
) -> None:
    backend = opened(seeing("plain"), num_ctx=100)
    job = asked(backend, 1, "Look: ", picture(1), max_tokens=500)
    ended = answer(backend, job)
    assert ended.finish == "length"
    assert len(job.prompt) + len(ended.tokens) == 100


def test_answers_that_were_given_up_leave_nothing_behind(opened: Open, sees: Sees) -> None:
    backend = opened(sees, num_parallel=1)
    parts = ("Look: ", picture(1, 64, 64), " what?")
    for steps in range(4):
        backend.submit(asked(backend, 7, *parts))
        for _ in range(steps):
            backend.step()
        backend.cancel(7)
    assert not backend.busy
    assert answer(backend, asked(backend, 8, *parts)).tokens == reference(sees, *parts)


def test_sounds_are_heard_by_a_model_with_ears(opened: Open, tmp_path: Path) -> None:
    hears = make_hearing(tmp_path)
    backend = opened(hears)
    low = answer(backend, asked(backend, 1, "Listen: ", sound(200), " what?"))
    high = answer(backend, asked(backend, 2, "Listen: ", sound(3000), " what?"))
    assert low.tokens == reference(hears, "Listen: ", sound(200), " what?")
    assert high.tokens == reference(hears, "Listen: ", sound(3000), " what?")
    assert low.tokens != high.tokens
    with pytest.raises(BadRequest):
        backend.look([picture(1)])


@pytest.mark.parametrize("layout", ["jpeg", "webp", "gif", "bmp"])
def test_images_come_in_many_formats(
    opened: Open, seeing: Callable[[str], Sees], layout: str
) -> None:
    backend = opened(seeing("plain"))
    (tokens,) = backend.look([picture(1, layout=layout)])
    assert len(tokens) == 64


@pytest.mark.parametrize("file", [b"", b"no image", picture(1)[:60], b"RIFF....WEBPVP8 broken"])
def test_what_is_no_image_is_refused(
    opened: Open, seeing: Callable[[str], Sees], file: bytes
) -> None:
    with pytest.raises(BadRequest):
        opened(seeing("plain")).look([file])


def test_an_image_of_too_many_pixels_is_refused_before_it_is_read(
    opened: Open, seeing: Callable[[str], Sees]
) -> None:
    with pytest.raises(BadRequest, match="Failed to load image"):
        opened(seeing("plain")).look([enormous()])


def test_a_model_in_one_file_with_its_eyes_names_what_to_use(tmp_path: Path) -> None:
    path = make_one_file(tmp_path)
    with pytest.raises(LoadFailed, match="use a GGUF from Hugging Face"):
        LlamaCppBackend(str(path), LoadOptions(num_ctx=64), lambda fraction: None)


def test_a_model_without_eyes_refuses_images(toy: ToyModels) -> None:
    backend = LlamaCppBackend(str(toy.gguf), LoadOptions(num_ctx=64), lambda fraction: None)
    with pytest.raises(BadRequest, match="does not support multimodal requests"):
        backend.look([picture(1)])
    run = media.run(b"x", 4, 4)
    refused = answer(backend, Generate(1, run, 4, GREEDY, media=[Medium(picture(1), run)]))
    backend.close()
    assert refused.failed
    assert refused.failed.status == 400


def test_a_projector_of_another_model_is_refused(
    opened: Open, seeing: Callable[[str], Sees], tmp_path: Path
) -> None:
    sees = seeing("plain")
    broken = tmp_path / "mmproj.gguf"
    broken.write_bytes(sees.projector.read_bytes()[:2000])
    with pytest.raises(LoadFailed, match="unable to load model"):
        opened(sees, projector=str(broken))
    with pytest.raises(LoadFailed, match="no such file"):
        opened(sees, projector=str(tmp_path / "gone.gguf"))

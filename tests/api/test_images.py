"""Images over HTTP, from the request to the token count, on a toy that sees."""

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollmlx.gguf import Gguf
from ollmlx.settings import Settings
from tests.api.creating import upload
from tests.convert.running import smollm2
from tests.engine.published_eyes import EYES
from tests.engine.writing_eyes import write
from tests.serving import served
from tests.toy import ToyModels
from tests.toy_hearing import make_hearing, sound
from tests.toy_vision import make_seeing, picture

GREEDY = {"temperature": 0, "num_predict": 8, "num_ctx": 2048}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a GGUF that has its projector beside it."""
    return str(make_seeing(tmp_path_factory.mktemp("eyes"), "whole").model)


@pytest.fixture(scope="module")
def seeing_mlx(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of an MLX model that sees."""
    pytest.importorskip("mlx_vlm", reason="MLX models see through mlx-vlm, of the extra `vision`")
    from tests.toy_mlx_vision import make_seeing_mlx

    return str(make_seeing_mlx(tmp_path_factory.mktemp("mlx") / "seeing", "smolvlm"))


@pytest.fixture(params=["model", "seeing_mlx"])
def seer(request: pytest.FixtureRequest) -> str:
    """Of one engine and of the other."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(Settings(models=tmp_path_factory.mktemp("store"), embedded=False)) as url:
        yield url


def encoded(seed: int, layout: str = "png") -> str:
    return base64.b64encode(picture(seed, layout=layout)).decode()


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.post(path, json={"stream": False, **body})).json()
    return answer


async def chat(client: httpx.AsyncClient, model: str, *messages: Any, **rest: Any) -> Any:
    return await post(
        client, "/api/chat", model=model, messages=list(messages), options=GREEDY, **rest
    )


def user(text: str, *images: str) -> dict[str, Any]:
    return {"role": "user", "content": text, "images": list(images)}


async def test_a_model_of_ollamas_library_sees_with_what_is_in_its_file(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    vocabulary = {n: v for n, v in Gguf(smollm2()).meta.items() if n.startswith("tokenizer.")}
    model = str(write(tmp_path, EYES["qwen25vl"], vocabulary).both)
    shown = await post(client, "/api/show", model=model)
    assert "vision" in shown["capabilities"]
    blind = await chat(client, model, user("what?"))
    one = await chat(client, model, user("what?", encoded(1)), logprobs=True)
    other = await chat(client, model, user("what?", encoded(2)), logprobs=True)
    assert one["logprobs"] != other["logprobs"]
    assert one["prompt_eval_count"] == other["prompt_eval_count"] > blind["prompt_eval_count"]
    rendered = await chat(client, model, user("what?", encoded(1)), _debug_render_only=True)
    assert rendered["_debug_info"]["image_count"] == 1


async def test_an_image_changes_the_answer_and_counts(client: httpx.AsyncClient, seer: str) -> None:
    assert "vision" in (await post(client, "/api/show", model=seer))["capabilities"]
    blind = await chat(client, seer, user("what?"))
    one = await chat(client, seer, user("what?", encoded(1)))
    other = await chat(client, seer, user("what?", encoded(2)))
    two = await chat(client, seer, user("what?", encoded(1), encoded(2)))
    assert one["message"] != other["message"]
    assert one["prompt_eval_count"] == other["prompt_eval_count"] > blind["prompt_eval_count"]
    image = one["prompt_eval_count"] - blind["prompt_eval_count"]
    assert two["prompt_eval_count"] == one["prompt_eval_count"] + image


async def test_generate_and_chat_see_the_same(client: httpx.AsyncClient, seer: str) -> None:
    chatted = await chat(client, seer, user("what?", encoded(1)))
    body = {"model": seer, "options": GREEDY}
    generated = await post(client, "/api/generate", prompt="what?", images=[encoded(1)], **body)
    assert generated["response"] == chatted["message"]["content"]
    assert all(token >= 0 for token in generated["context"])
    follows = await post(
        client, "/api/generate", prompt="and?", context=generated["context"], **body
    )
    assert follows["done"]


async def test_images_stand_where_the_text_says(client: httpx.AsyncClient, model: str) -> None:
    shown = await chat(
        client,
        model,
        user("a [img] b", encoded(1), encoded(2)),
        {"role": "assistant", "content": "yes"},
        user("c", encoded(3)),
        _debug_render_only=True,
    )
    text = shown["_debug_info"]["rendered_template"]
    assert "[img-1]a [img-0] b" in text
    assert "[img-2]c" in text
    assert shown["_debug_info"]["image_count"] == 3


async def test_raw_prompts_place_images_themselves(client: httpx.AsyncClient, model: str) -> None:
    body = {"model": model, "images": [encoded(1)], "options": GREEDY, "raw": True}
    seen = await post(client, "/api/generate", prompt="see [img-0] here", **body)
    blind = await post(client, "/api/generate", prompt="see [img-0] here", **body | {"images": []})
    assert seen["done"]
    assert seen["response"] != blind["response"]
    lost = await client.post("/api/generate", json={"prompt": "see", "stream": False, **body})
    assert lost.status_code == 400
    assert "[img-0]" in lost.json()["error"]


async def test_old_messages_with_images_are_left_out_whole(
    client: httpx.AsyncClient, model: str
) -> None:
    long = [user("word " * 120, *[encoded(n) for n in range(10)]) for _ in range(4)]
    kept = await chat(client, model, *long, user("last", encoded(9)), _debug_render_only=True)
    text = kept["_debug_info"]["rendered_template"]
    assert 0 < kept["_debug_info"]["image_count"] < 41
    assert text.count("[img-") == kept["_debug_info"]["image_count"]
    assert "[img-0]" in text
    answer = await chat(client, model, *long, user("last", encoded(9)))
    assert answer["done"]


async def test_a_prompt_with_images_is_not_cut_in_the_middle(
    client: httpx.AsyncClient, model: str
) -> None:
    images = [encoded(1)] * 60
    body = {"model": model, "messages": [user("what?", *images)], "options": GREEDY}
    refused = await client.post("/api/chat", json=body)
    assert refused.status_code == 400
    assert "longer than the context length" in refused.json()["error"]


async def test_what_is_no_image_is_400_and_a_blind_model_says_so(
    client: httpx.AsyncClient, model: str, toy: ToyModels
) -> None:
    junk = base64.b64encode(b"no image at all").decode()
    for path, image, text in (
        (model, junk, "Failed to load image or audio file"),
        (str(toy.gguf_q8), encoded(1), "does not support multimodal requests"),
        (str(toy.mlx), encoded(1), "does not support multimodal requests"),
    ):
        body = {"model": path, "messages": [user("what?", image)], "options": GREEDY}
        refused = await client.post("/api/chat", json=body)
        assert refused.status_code == 400, path
        assert text in refused.json()["error"]


async def test_an_mlx_model_that_could_see_names_what_to_use(
    client: httpx.AsyncClient, toy: ToyModels, tmp_path: Path
) -> None:
    folder = tmp_path / "seeing"
    shutil.copytree(toy.mlx, folder)
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(config | {"vision_config": {}}))
    refused = await chat(client, str(folder), user("what?", encoded(1)))
    assert "use a GGUF" in refused["error"]


async def test_every_dialect_shows_a_model_the_same(client: httpx.AsyncClient, seer: str) -> None:
    told = {"model": seer, "temperature": 0, "max_tokens": 8}
    native = await chat(client, seer, user("what?", encoded(1), encoded(2), encoded(1)))
    apart = [*(user("", encoded(n)) for n in (1, 2, 1)), user("what?")]  # as Ollama reads OpenAI's
    parted = await chat(client, seer, *apart)
    urls = [f"data:image/png;base64,{encoded(n)}" for n in (1, 2, 1)]
    parts: list[Any] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    parts.append({"type": "text", "text": "what?"})
    openai = await post(
        client, "/v1/chat/completions", messages=[{"role": "user", "content": parts}], **told
    )
    assert openai["usage"]["prompt_tokens"] == parted["prompt_eval_count"]
    assert openai["choices"][0]["message"]["content"] == parted["message"]["content"]
    sources = [{"type": "base64", "media_type": "image/png", "data": encoded(n)} for n in (1, 2, 1)]
    blocks: list[Any] = [{"type": "image", "source": source} for source in sources]
    blocks.append({"type": "text", "text": "what?"})
    said = [{"role": "user", "content": blocks}]
    anthropic = await post(client, "/v1/messages", messages=said, **told)
    counted = await post(client, "/v1/messages/count_tokens", messages=said, model=seer)
    used = anthropic["usage"]
    read = used["input_tokens"] + used.get("cache_read_input_tokens", 0)
    assert read == counted["input_tokens"] == native["prompt_eval_count"]
    shown = [{"type": "input_image", "image_url": url} for url in urls]
    shown.append({"type": "input_text", "text": "what?"})
    told["max_output_tokens"] = told.pop("max_tokens")
    asked = [{"role": "user", "content": shown}]
    responses = await post(client, "/v1/responses", input=asked, **told)
    assert responses["usage"]["input_tokens"] == native["prompt_eval_count"]
    answers = [
        native["message"]["content"],
        "".join(block.get("text", "") for block in anthropic["content"]),
        "".join(part["text"] for item in responses["output"] for part in item["content"]),
    ]
    assert answers == [answers[0]] * 3


async def test_a_damaged_image_is_refused_in_every_dialect(
    client: httpx.AsyncClient, seer: str
) -> None:
    cut = base64.b64encode(picture(1)[:60]).decode()
    source = {"type": "base64", "media_type": "image/png", "data": cut}
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{cut}"}}
    for path, body in {
        "/api/generate": {"prompt": "what?", "images": [cut]},
        "/api/chat": {"messages": [user("what?", cut)]},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": [url]}]},
        "/v1/messages": {
            "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}],
            "max_tokens": 4,
        },
    }.items():
        refused = await client.post(path, json={"model": seer, **body})
        assert refused.status_code == 400, path
        assert "Failed to load image or audio file" in refused.text


async def test_a_blind_model_still_shows_its_prompt(
    client: httpx.AsyncClient, toy: ToyModels
) -> None:
    shown = await chat(client, str(toy.gguf_q8), user("x", encoded(1)), _debug_render_only=True)
    assert shown["_debug_info"]["image_count"] == 1


async def test_a_projector_beside_several_models_is_nobodys(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    first = make_seeing(tmp_path, "whole").model
    (tmp_path / "another.gguf").write_bytes(first.read_bytes())
    shown = await post(client, "/api/show", model=str(first))
    assert "vision" not in shown["capabilities"]


async def test_a_model_created_with_its_projector_sees(
    client: httpx.AsyncClient, model: str
) -> None:
    folder = Path(model).parent
    files = {
        path.name: await upload(client, path.read_bytes()) for path in folder.glob("*whole.gguf")
    }
    made = await client.post("/api/create", json={"model": "eyes", "files": files})
    assert "success" in made.text
    shown = await post(client, "/api/show", model="eyes")
    assert "vision" in shown["capabilities"]
    assert shown["projector_info"]
    by_name = await chat(client, "eyes", user("what?", encoded(1)))
    assert by_name["message"] == (await chat(client, model, user("what?", encoded(1))))["message"]
    listed = (await client.get("/api/tags")).json()["models"]
    stored = sum(path.stat().st_size for path in folder.glob("*whole.gguf"))
    assert stored <= listed[0]["size"] < stored + 10_000


async def test_sounds_are_transcribed_by_a_model_that_hears(
    client: httpx.AsyncClient, model: str, tmp_path: Path
) -> None:
    hears = str(make_hearing(tmp_path).model)
    shown = await post(client, "/api/show", model=hears)
    assert "audio" in shown["capabilities"]
    files = {"file": ("tone.wav", sound(200))}
    heard = await client.post("/v1/audio/transcriptions", data={"model": hears}, files=files)
    assert heard.status_code == 200
    assert heard.json()["text"]
    deaf = await client.post("/v1/audio/transcriptions", data={"model": model}, files=files)
    assert deaf.status_code == 400


async def test_quantised_models_still_see(
    client: httpx.AsyncClient, model: str, tmp_path: Path
) -> None:
    pytest.importorskip("mlx_vlm", reason="MLX models see through mlx-vlm, of the extra `vision`")
    from tests.toy_mlx_vision import make_seeing_mlx

    folders = {
        "gguf": list(Path(model).parent.glob("*whole.gguf")),
        "mlx": [p for p in make_seeing_mlx(tmp_path / "m", "smolvlm").iterdir() if p.is_file()],
    }
    for name, paths in folders.items():
        files = {path.name: await upload(client, path.read_bytes()) for path in paths}
        body = {"model": name, "files": files, "quantize": "q8_0"}
        made = await client.post("/api/create", json=body)
        assert "success" in made.text, made.text
        shown = await post(client, "/api/show", model=name)
        assert "vision" in shown["capabilities"]
        assert shown["details"]["quantization_level"] == {"gguf": "Q8_0", "mlx": "int8"}[name]
        one, other = [await chat(client, name, user("what?", encoded(n))) for n in (1, 2)]
        assert one["message"] != other["message"]

"""/v1/models in two shapes: Anthropic's for clients that say its version, else OpenAI's."""

import pytest

from ollmlx.settings import Settings
from tests.echo import EchoLibrary, echo_model
from tests.serving import served

NAMES = ("echo:latest", "clever:latest", "roles:latest")
VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture(scope="module")
def url():
    with served(Settings(), EchoLibrary(*map(echo_model, NAMES))) as url:
        yield url


async def test_anthropics_clients_get_pages(client):
    first = (await client.get("/v1/models?limit=2", headers=VERSION)).json()
    assert [info["id"] for info in first["data"]] == ["echo:latest", "clever:latest"]
    assert (first["has_more"], first["last_id"]) == (True, "clever:latest")
    assert list(first["data"][0]) == ["type", "id", "display_name", "created_at"]
    query = "/v1/models?after_id=clever:latest"
    second = (await client.get(query, headers=VERSION)).json()
    assert [info["id"] for info in second["data"]] == ["roles:latest"]
    assert second["has_more"] is False
    before = "/v1/models?before_id=roles:latest&limit=1"
    back = (await client.get(before, headers=VERSION)).json()
    assert (back["first_id"], back["has_more"]) == ("clever:latest", True)


async def test_one_model_has_the_shape_of_the_api_that_asks(client):
    anthropic = (await client.get("/v1/models/echo", headers=VERSION)).json()
    assert (anthropic["type"], anthropic["id"]) == ("model", "echo:latest")
    openai = (await client.get("/v1/models/echo?anthropic_version=1")).json()
    assert (openai["object"], openai["id"]) == ("model", "echo")


async def test_errors_have_it_too(client):
    for path in ("/v1/models/nope", "/v1/models?after_id=nope"):
        missing = await client.get(path, headers=VERSION)
        assert (missing.status_code, missing.json()["type"]) == (404, "error")
    wrong = await client.get("/v1/models?limit=0", headers=VERSION)
    assert wrong.json()["error"]["message"] == "limit must be between 1 and 1000"
    assert "param" in (await client.get("/v1/models/nope")).json()["error"]

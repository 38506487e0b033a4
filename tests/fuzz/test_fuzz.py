"""A sample of `python -m tests.fuzz`, which sends ten thousand."""

from tests.fuzz.firing import fire, serving
from tests.fuzz.mutations import PLACES, WITH_JSON, drawn, sample


async def test_five_hundred_requests_that_nobody_should_send_are_answered(
    tmp_path, scripted, toy_bert
):
    with serving(tmp_path, scripted.gguf, toy_bert) as server:
        assert await fire(server.url, sample(500, seed=0)) == []
    assert "Traceback" not in "".join(server.log)


def test_every_route_with_a_body_and_the_fields_inside_of_fields_are_among_them():
    assert {route.path for route, _ in PLACES} == {route.path for route in WITH_JSON}
    chat = [path for route, path in PLACES if route.path == "/api/chat"]
    assert ("messages", 0, "tool_calls", 0, "function", "name") in chat
    assert ("options", "num_ctx") in chat


def test_the_same_seed_draws_the_same_request():
    assert [drawn(number) for number in range(50)] == [drawn(number) for number in range(50)]

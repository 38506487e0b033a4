"""The magics in a real kernel: streamed Markdown, short errors, and Kernel → Interrupt."""

from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

from tests.stand_in import StandIn


@pytest.fixture
def kernel(server: StandIn) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    manager, client = start_new_kernel(kernel_name="python3")
    client.execute_interactive("%load_ext ollmlx", timeout=60)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def run(client: BlockingKernelClient, code: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The reply to a cell, and the messages it showed."""
    shown: list[dict[str, Any]] = []
    reply = client.execute_interactive(code, timeout=60, output_hook=shown.append)
    return reply["content"], shown


def test_a_cell_shows_one_output_that_grows_into_the_whole_answer(
    kernel: tuple[KernelManager, BlockingKernelClient], server: StandIn
):
    server.words = ["**Good** ", "day"]
    reply, shown = run(kernel[1], "%%ollmlx m\nHello")
    kinds = [message["msg_type"] for message in shown]
    assert reply["status"] == "ok"
    assert kinds.count("display_data") == 1
    last = [m for m in shown if "data" in m["content"]][-1]["content"]
    assert last["data"]["text/markdown"] == last["data"]["text/plain"] == "**Good** day"


def test_an_error_is_one_line_and_marks_the_cell_as_failed(
    kernel: tuple[KernelManager, BlockingKernelClient],
):
    reply, shown = run(kernel[1], "%%ollmlx missing\nHello")
    assert reply["status"] == "error"
    assert [m["content"]["traceback"] for m in shown if m["msg_type"] == "error"] == [
        [
            "model 'missing' not found; "
            "%ollmlx list tells which are there, %ollmlx pull fetches others"
        ]
    ]


def test_interrupting_the_kernel_ends_the_request_and_keeps_the_text(
    kernel: tuple[KernelManager, BlockingKernelClient], server: StandIn
):
    manager, client = kernel
    server.endless = True
    shown: list[dict[str, Any]] = []

    def watch(message: dict[str, Any]) -> None:
        if message["msg_type"] == "display_data":  # some of the answer is on the screen
            manager.interrupt_kernel()
        shown.append(message)

    reply = client.execute_interactive("%%ollmlx m\nHello", timeout=60, output_hook=watch)
    assert reply["content"]["ename"] == "Interrupted"
    assert server.left.wait(10)
    _, printed = run(client, "print(_ollmlx.done_reason, _ollmlx.text[:4])")
    streamed = [m["content"]["text"] for m in printed if m["msg_type"] == "stream"]
    assert streamed == ["interrupted Good\n"]
    assert [m for m in shown if "data" in m["content"]][-1]["content"]["data"]["text/plain"]

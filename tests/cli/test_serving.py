"""`serve` and `convert` as people run them: real processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ollama
import psutil
import pytest

from ollmlx import __version__

COMPARED = r"\ncompared with the original: over \d+ tokens \d+% of the likeliest agree, .+ apart\n$"
LINE = re.compile(r'time=\S+T\S+ level=INFO source=serving\.py:\d+ msg="[^"]+"\n')


def ollmlx(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ollmlx.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@contextmanager
def serving(models: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `ollmlx serve` and its URL."""
    environment = {"OLLAMA_HOST": f"127.0.0.1:{port or free_port()}", "OLLAMA_MODELS": str(models)}
    server = subprocess.Popen(
        [sys.executable, "-m", "ollmlx.cli", "serve"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert server.stderr
    with server, server.stderr:
        try:
            line = next(line for line in server.stderr if "Listening on" in line)
            assert LINE.fullmatch(line), line
            assert f"(version {__version__})" in line
            yield server, f"http://{environment['OLLAMA_HOST']}"
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=20)


def free_port() -> int:
    from tornado.testing import bind_unused_port

    socket, port = bind_unused_port()
    socket.close()
    return int(port)


def test_serve_answers_ollamas_client_and_ends_cleanly(tmp_path, scripted):
    with serving(tmp_path) as (server, url), ollama.Client(url, trust_env=False) as client:
        message = {"role": "user", "content": "hi"}
        answer = client.chat(str(scripted.gguf), [message], options={"temperature": 0})
        assert answer.message.content
        (worker,) = psutil.Process(server.pid).children()
    assert server.returncode == 0
    assert not worker.is_running()


def test_a_busy_port_is_reported_in_one_line(tmp_path):
    with serving(tmp_path) as (_, url):
        second = ollmlx("serve", OLLAMA_HOST=url.removeprefix("http://"))
    assert second.returncode == 1
    assert second.stderr.strip().endswith("bind: address already in use")
    assert second.stderr.startswith("Error: listen tcp 127.0.0.1:")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"OLLAMA_NUM_PARALLEL": "many"}, "OLLAMA_NUM_PARALLEL must be a whole number, not 'many'"),
        ({"OLLAMA_HOST": "[::1"}, "OLLAMA_HOST: '[::1' is no address of a server: "),
        ({"OLLAMA_HOST": "nobody.invalid"}, "listen tcp: lookup nobody.invalid: no such host"),
    ],
)
def test_a_bad_setting_is_reported_in_one_line(setting, told):
    refused = ollmlx("serve", **setting)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: {told}")
    assert refused.stderr.count("\n") == 1


def test_a_converted_model_goes_by_its_name_beside_the_original(tmp_path, scripted):
    models = {"OLLAMA_MODELS": str(tmp_path)}
    done = ollmlx("convert", str(scripted.gguf), "scripted:mlx", **models)
    assert done.returncode == 0, done.stderr
    assert re.search(COMPARED, done.stderr)
    again = ollmlx("convert", str(scripted.gguf), "scripted:mlx", **models)
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert "--replace" in again.stderr
    assert (
        ollmlx("convert", str(scripted.gguf), "scripted:mlx", "--replace", **models).returncode == 0
    )
    with serving(tmp_path) as (_, url), ollama.Client(url, trust_env=False) as client:
        assert "scripted:mlx" in [model.model for model in client.list().models]
        same = [
            client.generate(name, "hi", options={"temperature": 0}).response
            for name in ("scripted:mlx", str(scripted.gguf))
        ]
    assert same[0] == same[1]


def test_an_mlx_model_becomes_a_file_whose_name_ends_in_gguf(tmp_path, toy):
    target = tmp_path / "toy.gguf"
    refused = ollmlx("convert", str(toy.mlx), "toy:gguf")
    assert refused.returncode == 1
    assert "is an MLX model already" in refused.stderr
    done = ollmlx("convert", str(toy.mlx), str(target))
    assert done.returncode == 0, done.stderr
    assert f" → {target}\n" in done.stderr
    assert re.search(COMPARED, done.stderr)
    assert target.read_bytes().startswith(b"GGUF")


@pytest.mark.parametrize(
    ("source", "text"),
    [("nope", "model 'nope' not found"), ("a b", "invalid model name")],
)
def test_what_cannot_be_converted_is_told_in_one_line(source, text):
    refused = ollmlx("convert", source)
    assert (refused.returncode, refused.stderr) == (1, f"Error: {text}\n")

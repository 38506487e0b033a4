"""Debian's `docker-registry` on loopback, and a way to put models into it."""

import hashlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollmlx.store.ollama.layers import CONFIG_TYPE, MANIFEST_TYPE, PREFIX


class OciRegistry:
    """A running registry."""

    def __init__(self, host: str, http: httpx.Client) -> None:
        self.host = host
        self._http = http
        http.base_url = f"http://{host}/v2"

    def add_blob(self, repository: str, content: bytes) -> dict[str, Any]:
        """Upload as any OCI client does; the descriptor's digest and size."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        begun = self._http.post(f"/{repository}/blobs/uploads/")
        begun.raise_for_status()
        url = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": digest})
        self._http.put(url, content=content).raise_for_status()
        return {"digest": digest, "size": len(content)}

    def add(self, repository: str, tag: str, config: dict[str, Any], **layers: bytes) -> bytes:
        """A model with one layer of each kind; the bytes of its manifest."""
        parts = [
            {"mediaType": PREFIX + kind, **self.add_blob(repository, content)}
            for kind, content in layers.items()
        ]
        settings = self.add_blob(repository, json.dumps(config).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, **settings},
            "layers": parts,
        }
        # With spaces, so that it shows who keeps the bytes.
        data = json.dumps(manifest, indent=3).encode()
        self._http.put(
            f"/{repository}/manifests/{tag}", content=data, headers={"Content-Type": MANIFEST_TYPE}
        ).raise_for_status()
        return data

    def manifest(self, repository: str, tag: str) -> bytes:
        path = f"/{repository}/manifests/{tag}"
        answer = self._http.get(path, headers={"Accept": MANIFEST_TYPE})
        return answer.raise_for_status().content


@contextmanager
def docker_registry(folder: Path) -> Iterator[OciRegistry]:
    """Skips the test where the program is not installed."""
    if not (program := shutil.which("docker-registry")):
        pytest.skip("docker-registry is not installed (apt-get install docker-registry)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = folder / "registry.yml"
    settings.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}}}\n"
        f"http: {{addr: 127.0.0.1:{port}}}\n"
    )
    log = (folder / "registry.log").open("wb")
    with log, subprocess.Popen([program, "serve", str(settings)], stdout=log, stderr=log) as server:
        try:
            _wait_for(port, server)
            with httpx.Client(trust_env=False, timeout=60) as http:
                yield OciRegistry(f"127.0.0.1:{port}", http)
        finally:
            server.terminate()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while server.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.02)  # there is nothing else to wait on
    raise TimeoutError("docker-registry did not start")

"""What a client does to create a model."""

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx


async def upload(client: httpx.AsyncClient, data: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert (await client.post(f"/api/blobs/{digest}", content=data)).status_code in (200, 201)
    return digest


async def upload_folder(client: httpx.AsyncClient, folder: Path) -> dict[str, str]:
    return {path.name: await upload(client, path.read_bytes()) for path in files_in(folder)}


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


async def create(client: httpx.AsyncClient, **request: Any) -> list[dict[str, Any]]:
    response = await client.post("/api/create", json={"model": "made", **request})
    return [json.loads(line) for line in response.text.splitlines()]


def statuses(frames: list[dict[str, Any]]) -> list[str]:
    """Each once in a row, without digests."""
    found: list[str] = []
    for frame in frames:
        words = frame.get("status", frame.get("error", "")).partition(" sha256:")[0]
        if not found or found[-1] != words or "layer" in words:
            found.append(words)
    return found

"""How fast 1 GiB comes from a registry on loopback, beside curl and sha256sum.

    python -m tests.pull_speed [--mib 1024] [--rounds 3]

Needs Linux, docker-registry, curl and sha256sum.  Prints seconds, and the most memory that our
process took.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ollmlx import names
from ollmlx.store.ollama.blobs import Blobs
from ollmlx.store.ollama.layers import CONFIG_TYPE, PREFIX, Layer, Manifest
from ollmlx.store.transfer.registry import Registry
from ollmlx.store.transfer.transport import Session
from ollmlx.store.transfer.upload import Upload
from tests.registry import OciRegistry, docker_registry

PULL = """
import asyncio, sys
from pathlib import Path
from ollmlx.api.engine import Engine
from ollmlx.api.transfers import pulling
from ollmlx.engine.pool import Pool
from ollmlx.settings import Settings
from ollmlx.store.library import Library

async def main():
    settings = Settings(models=Path(sys.argv[1]))
    engine = Engine(settings, Library(settings), Pool(settings))
    async for frame in pulling(engine, sys.argv[2], insecure=True):
        last = frame
    assert last.status == "success"
    # Not getrusage: what it says survives an exec, and so tells of whoever started this.
    status = Path("/proc/self/status").read_text()
    print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)

asyncio.run(main())
"""


def ours(registry: OciRegistry, folder: Path) -> tuple[float, int]:
    """Seconds of a whole pull, start of Python included, and MiB of memory at most."""
    began = time.perf_counter()
    command = [sys.executable, "-c", PULL, str(folder), f"{registry.host}/me/big:1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - began, int(done.stdout)


def theirs(registry: OciRegistry, digest: str, target: Path) -> float:
    """Seconds of curl and then sha256sum."""
    began = time.perf_counter()
    url = f"http://{registry.host}/v2/me/big/blobs/{digest}"
    subprocess.run(["curl", "--silent", "--fail", "-o", str(target), url], check=True)
    subprocess.run(["sha256sum", str(target)], check=True, capture_output=True)
    return time.perf_counter() - began


def put(registry: OciRegistry, folder: Path, mib: int) -> str:
    """A model of one large layer, pushed as we push; the digest of that layer."""
    blobs, block = Blobs(folder / "blobs"), random.Random(1).randbytes(1 << 20)
    with blobs.writing() as writer:
        for number in range(mib):
            writer.write(number.to_bytes(4) + block[4:])
        model = writer.commit()
    config = blobs.add(b"{}")
    made = Manifest(
        config=Layer(CONFIG_TYPE, config.digest, config.size),
        layers=[Layer(f"{PREFIX}model", model.digest, model.size)],
    )
    session = Session()
    target = Registry(names.parse(f"{registry.host}/me/big:1"), session, insecure=True)
    for layer in made.blobs:
        Upload(blobs.path(layer.digest), layer, target, session).run()
    target.put_manifest(made.encode())
    return model.digest


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of a pull from loopback.")
    parser.add_argument("--mib", type=int, default=1024, help="size of the blob")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, docker_registry(Path(name)) as registry:
        folder = Path(name)
        digest = put(registry, folder, arguments.mib)
        for number in range(arguments.rounds):
            reference = theirs(registry, digest, folder / "file")
            seconds, memory = ours(registry, folder / f"store{number}")
            subprocess.run(["rm", "-r", str(folder / f"store{number}")], check=True)
            print(  # noqa: T201  # it is a program
                f"ours {seconds:.2f} s, {memory} MiB; curl and sha256sum {reference:.2f} s; "
                f"speed {reference / seconds:.2f} of theirs",
                flush=True,
            )


if __name__ == "__main__":
    main()

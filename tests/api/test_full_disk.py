"""What happens to a store on a disk that fills."""

import json
import subprocess
import sys

from tests.misbehaving import misbehaving


def test_every_change_says_so_and_leaves_what_was_there(toy, tmp_path):
    store = tmp_path / "models"
    with misbehaving() as registry:
        registry.add("me/m", "1", {"model_format": "gguf"}, model=bytes(100_000))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.api.filling"),
                *(str(store), str(toy.gguf_q8), str(toy.mlx), registry.host),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    full = "cannot write to {}: File too large"
    tree = store / "mlx/registry.ollama.ai/library"
    assert found["told"] == {
        "blob": full.format(store / "blobs"),
        "create": full.format(store / "blobs"),
        "create MLX": full.format(tree / "b"),
        "quantise MLX": found["told"]["quantise MLX"],
        "copy": full.format(store / "blobs"),
        "convert": full.format(tree / "converted"),
        "pull": full.format(store / "blobs"),
    }
    assert "Unable to write" in found["told"]["quantise MLX"]

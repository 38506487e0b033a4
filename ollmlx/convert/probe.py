"""What a model expects after each token of a short text: the logits, as they come out of it.

Runs as a process, one for each model, so that only one is in memory and no tokenizer of a stranger
is read in the server: `python -m ollmlx.convert.probe FORMAT PATH OUTPUT [ID…]` writes an array of
numpy's, and tells the ids that it chose when it got none.
"""

from pathlib import Path

import numpy as np

from ollmlx.convert.blocks import Floats
from ollmlx.convert.subprocesses import child, tell

TEXT = "The capital of France is Paris. One, two, three, four, five; def add(a, b): return a + b"
MOST_TOKENS = 32


def gguf_logits(path: Path, ids: list[int]) -> Floats:
    """(tokens, vocabulary), from llama.cpp on the processor."""
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=MOST_TOKENS + 8, n_gpu_layers=0, logits_all=True, verbose=False)
    ids = ids or _chosen(model.tokenize(TEXT.encode())[:MOST_TOKENS])
    model.eval(ids)
    logits = np.array(model.scores[: len(ids)], np.float32)
    model.close()
    return logits


def mlx_logits(path: Path, ids: list[int]) -> Floats:
    """(tokens, vocabulary), from MLX."""
    import mlx.core as mx
    from tokenizers import Tokenizer

    from ollmlx.engine.mlx.folder import lazy_whole, load_weights, read_config

    model = load_weights(path, read_config(path), (), lambda _: None, lazy_whole)
    if not ids:
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        ids = _chosen(tokenizer.encode(TEXT).ids[:MOST_TOKENS])
    answer = model(mx.array([ids]), None)  # no cache; no pixels where it is mlx-vlm's
    logits = getattr(answer, "logits", answer)
    return np.array(logits[0].astype(mx.float32))


def _chosen(ids: list[int]) -> list[int]:
    tell(ids=ids)
    return ids


def work(arguments: list[str]) -> None:
    kind, path, output, *ids = arguments
    read = gguf_logits if kind == "gguf" else mlx_logits
    np.save(output, read(Path(path), [int(one) for one in ids]))


if __name__ == "__main__":
    child(work)

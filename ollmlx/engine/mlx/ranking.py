"""Rerankers among MLX models: Qwen3-Reranker, which says `yes` or `no` of a document.

Its weights are those of any Qwen3, so it is known by its name, as llama.cpp's converter knows it:
in the folder's path or at the head of its README.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from ollmlx.engine.jobs import Ranking
from ollmlx.engine.mlx.vocabulary import Vocabulary

_NAME = "qwen3-reranker"
_HEAD_BYTES = 4096
RANKING = Ranking(
    template="""<|im_start|>system
Judge whether the Document meets the requirements based on the Query and the Instruct provided. \
Note that the answer can only be "yes" or "no".<|im_end|>
<|im_start|>user
<Instruct>: Given a web search query, retrieve relevant passages that answer the query
<Query>: {query}
<Document>: {document}<|im_end|>
<|im_start|>assistant
<think>

</think>

"""
)
"""Source: https://huggingface.co/Qwen/Qwen3-Reranker-0.6B."""


@dataclass(frozen=True)
class Judge:
    """What is read of the logits after a query and a document."""

    yes: int
    no: int

    def score(self, model: nn.Module, state: NDArray[np.float32]) -> NDArray[np.float32]:
        """[width], the last token's state → [1]: how far `yes` is ahead of `no`, in logits."""
        head = model.lm_head if "lm_head" in model else model.model.embed_tokens.as_linear
        logits = head(mx.array(state)[None])[0].astype(mx.float32)
        return np.array(logits[self.yes] - logits[self.no])[None]


def judge(folder: Path, config: dict[str, Any], words: Vocabulary) -> Judge | None:
    """None for a model that does not rank."""
    if config["model_type"] != "qwen3" or not _named(folder):
        return None
    yes, no = words.tokenize("yes", False), words.tokenize("no", False)
    return Judge(yes[0], no[0]) if len(yes) == len(no) == 1 else None


def _named(folder: Path) -> bool:
    try:
        with (folder / "README.md").open("rb") as file:
            about = file.read(_HEAD_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        about = ""
    return _NAME in f"{folder}\n{about}".lower()

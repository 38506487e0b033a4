"""What a cross-encoder wants around a query and a document.

As llama.cpp's server does it, but a text of word pieces ends with its separator, as it did when
the model was trained.
"""

from llama_cpp import llama_cpp as llama

from ollmlx.engine.jobs import Ranking
from ollmlx.engine.llama.model import Model


def ranking(model: Model) -> Ranking | None:
    """None for a model that does not rank."""
    if model.pooling != llama.LLAMA_POOLING_TYPE_RANK:
        return None
    if template := llama.llama_model_chat_template(model.handle, b"rerank"):
        return Ranking(template=template.decode("utf-8", "replace"))
    vocab = model.vocab
    begin, separator = [llama.llama_vocab_bos(vocab)], [llama.llama_vocab_sep(vocab)]
    if llama.llama_vocab_type(vocab) == llama.LLAMA_VOCAB_TYPE_WPM:
        return Ranking(begin, separator, separator)
    end = [llama.llama_vocab_eos(vocab)] if llama.llama_vocab_get_add_eos(vocab) else []
    return Ranking(
        begin if llama.llama_vocab_get_add_bos(vocab) else [],
        end + (separator if llama.llama_vocab_get_add_sep(vocab) else []),
        end,
    )

"""Two-layer llamas of 64 dimensions, written as GGUF and as MLX folders.

*random*: attention matters, so prefix caches, batches and equal engines can be tested.
*scripted*: a bigram machine; after `assistant` the greedy answer is `REPLY` and the end token in
every engine and quantisation, and after `<|tools|>` it is `TOOL_CALL` and the end token.
"""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, LAYERS, CONTEXT = 64, 128, 4, 2, 2, 2048
HEAD = HIDDEN // HEADS

REPLY = "Hello there! How can I help? 😀"
TOOL_CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
CHAT = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant"
"""A prompt as the template renders it; the scripted model answers `REPLY`."""

TEMPLATE = (
    "{%- if tools %}{{ '<|im_start|>system\n' }}{%- for t in tools %}{{ t | tojson }}{{ '\n' }}"
    "{%- endfor %}{{ '<|im_end|>\n' }}{%- endif %}"
    "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + (m['content'] or '') }}"
    "{%- for c in (m.tool_calls or []) %}{%- set tool_call = c.function or c %}{{ '<tool_call>' }}"
    "{{ {'name': tool_call.name, 'arguments': tool_call.arguments} | tojson }}{{ '</tool_call>' }}"
    "{%- endfor %}{{ '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant' }}"
    "{%- if tools %}{{ '<|tools|>' }}{%- endif %}{%- endif %}"
)
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|tools|>"]
USER_DEFINED = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
WORDS = ["assistant", "Hello", " there", "!", " How", " can", " I", " help", "?"]
ARGUMENTS = '{"name": "get_weather", "arguments": {"city": "Paris"}}'

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class ToyModels:
    """Files of one toy: the same weights, except for what Q8_0 rounds away."""

    gguf: Path
    gguf_q8: Path
    mlx: Path


@dataclass(frozen=True)
class Vocabulary:
    tokens: list[str]
    types: list[gguf.TokenType]
    merges: list[tuple[str, str]]

    @property
    def ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}


def make_toy(folder: Path, scripted: bool = False) -> ToyModels:
    """Write both formats of the random or the scripted llama into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary()
    weights = _scripted(vocabulary) if scripted else _random(len(vocabulary.tokens), 0.25)
    toy = ToyModels(folder / "toy.F32.gguf", folder / "toy.Q8_0.gguf", folder / "toy-mlx")
    _write_gguf(toy.gguf, weights, vocabulary, gguf.GGMLQuantizationType.F32)
    _write_gguf(toy.gguf_q8, weights, vocabulary, gguf.GGMLQuantizationType.Q8_0)
    _write_mlx(toy.mlx, weights, vocabulary)
    return toy


def _alphabet() -> list[str]:
    """GPT-2's printable character for each of the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(spare)) for b in range(256)]


def _spell(text: str) -> str:
    alphabet = _alphabet()
    return "".join(alphabet[b] for b in text.encode())


def _vocabulary() -> Vocabulary:
    """The bytes, each word with the merges that build it, then control and user-defined tokens."""
    tokens, merges = _alphabet(), []
    for word in map(_spell, [*WORDS, ARGUMENTS]):
        for end in range(2, len(word) + 1):
            if word[:end] not in tokens:
                tokens.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    types = [gguf.TokenType.NORMAL] * len(tokens)
    types += [gguf.TokenType.CONTROL] * len(CONTROL)
    types += [gguf.TokenType.USER_DEFINED] * len(USER_DEFINED)
    tokens += CONTROL + USER_DEFINED
    while len(tokens) % 32:  # Q8_0 packs rows of 32
        tokens.append(f"<|unused{len(tokens)}|>")
        types.append(gguf.TokenType.UNUSED)
    return Vocabulary(tokens, types, merges)


def _random(vocab: int, residual: float) -> Weights:
    """`residual` scales what the layers add to the stream.  All values fit float16 exactly."""
    generator = np.random.default_rng(0)

    def draw(*shape: int, scale: float) -> NDArray[np.float32]:
        values = generator.standard_normal(shape) * scale
        return values.astype(np.float16).astype(np.float32)

    weights = {
        "model.embed_tokens.weight": draw(vocab, HIDDEN, scale=1.0),
        "lm_head.weight": draw(vocab, HIDDEN, scale=0.5),
        "model.norm.weight": np.ones(HIDDEN, np.float32),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, rows, columns, scale in (
            ("self_attn.q_proj", HIDDEN, HIDDEN, 0.25),
            ("self_attn.k_proj", KV_HEADS * HEAD, HIDDEN, 0.25),
            ("self_attn.v_proj", KV_HEADS * HEAD, HIDDEN, 0.125),
            ("self_attn.o_proj", HIDDEN, HIDDEN, residual / 2),
            ("mlp.gate_proj", FEED_FORWARD, HIDDEN, 0.125),
            ("mlp.up_proj", FEED_FORWARD, HIDDEN, 0.125),
            ("mlp.down_proj", HIDDEN, FEED_FORWARD, residual / 2),
        ):
            weights[f"{prefix}{name}.weight"] = draw(rows, columns, scale=scale)
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{prefix}{name}.weight"] = 1 + draw(HIDDEN, scale=0.1)
    return weights


def _scripted(vocabulary: Vocabulary) -> Weights:
    """The output row of a token is its predecessor's embedding: each token names its successor."""
    ids, alphabet = vocabulary.ids, _alphabet()
    weights = _random(len(vocabulary.tokens), 0.01)
    embeddings = weights["model.embed_tokens.weight"]
    embeddings *= 8 / np.linalg.norm(embeddings, axis=1, keepdims=True)
    output = np.zeros_like(embeddings)
    end = ids["<|im_end|>"]
    reply = [*(ids[_spell(w)] for w in WORDS), *(ids[alphabet[b]] for b in " 😀".encode()), end]
    arguments = ids[_spell(ARGUMENTS)]
    call = [ids["<|tools|>"], ids["<tool_call>"], arguments, ids["</tool_call>"], end]
    for chain in (reply, call):
        for token, successor in itertools.pairwise(chain):
            output[successor] += embeddings[token] / 4
    weights["lm_head.weight"] = output
    return {k: v.astype(np.float16).astype(np.float32) for k, v in weights.items()}


def _write_gguf(
    path: Path, weights: Weights, vocabulary: Vocabulary, kind: gguf.GGMLQuantizationType
) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    _write_llama_keys(writer)
    is_f32 = kind is gguf.GGMLQuantizationType.F32
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if is_f32 else gguf.LlamaFileType.MOSTLY_Q8_0)
    _write_vocabulary(writer, vocabulary)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
    for name, values in weights.items():
        target = names.get_name(name, try_suffixes=(".weight",))
        assert target is not None, name
        array = _interleave(name, values)
        if is_f32 or array.ndim == 1:
            writer.add_tensor(target, array)
        else:
            writer.add_tensor(target, gguf.quants.quantize(array, kind), raw_dtype=kind)
    _finish(writer)


def _write_llama_keys(writer: gguf.GGUFWriter) -> None:
    writer.add_name("toy")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_quantization_version(2)


def _write_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_vocab_size(len(vocabulary.tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges([" ".join(pair) for pair in vocabulary.merges])
    writer.add_bos_token_id(vocabulary.ids["<|endoftext|>"])
    writer.add_eos_token_id(vocabulary.ids["<|im_end|>"])
    writer.add_pad_token_id(vocabulary.ids["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _interleave(name: str, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotary halves as llama.cpp pairs them."""
    heads = HEADS if "q_proj" in name else KV_HEADS if "k_proj" in name else 0
    if not heads:
        return weight
    rows, columns = weight.shape
    return (
        weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_mlx(folder: Path, weights: Weights, vocabulary: Vocabulary) -> None:
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "mlx"})
    _write_json(folder / "config.json", _config(vocabulary))
    _tokenizer(vocabulary).save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
    }
    _write_json(folder / "tokenizer_config.json", settings)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")


def _config(vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "intermediate_size": FEED_FORWARD,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "rms_norm_eps": 1e-5,
        "vocab_size": len(vocabulary.tokens),
        "rope_theta": 10000.0,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        "bos_token_id": vocabulary.ids["<|endoftext|>"],
        "eos_token_id": vocabulary.ids["<|im_end|>"],
        "torch_dtype": "float32",
    }


def _tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary.ids, merges=vocabulary.merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in CONTROL])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in USER_DEFINED])
    return tokenizer


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")

"""The architectures that can be converted, by GGUF's name: what is not in the table is refused.

Each was compared with another implementation on small random weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gguf

from ollmlx.convert import dense, hybrids, mixtures
from ollmlx.convert.decoder import Config
from ollmlx.convert.metadata import Metadata
from ollmlx.convert.refusals import UnsupportedArchitecture
from ollmlx.convert.transforms import Transform, grouped_heads, halved, norm_from_zero


@dataclass(frozen=True)
class Architecture:
    configure: Callable[[Metadata], Config]
    transforms: tuple[Transform, ...] = ()
    dtype: str = "float16"
    """bfloat16 where the activations are known to leave float16's range."""


ARCHITECTURES = {
    "llama": Architecture(dense.llama, (halved,)),
    "mistral3": Architecture(dense.mistral3, (halved,)),
    "smollm3": Architecture(dense.smollm3, (halved,)),
    "granite": Architecture(dense.granite, (halved,)),
    "granitemoe": Architecture(mixtures.granitemoe, (halved,)),
    "qwen2": Architecture(dense.plain("qwen2", "Qwen2ForCausalLM")),
    "qwen3": Architecture(dense.plain("qwen3", "Qwen3ForCausalLM")),
    "qwen2moe": Architecture(mixtures.qwen("qwen2_moe", "Qwen2MoeForCausalLM")),
    "qwen3moe": Architecture(
        mixtures.qwen("qwen3_moe", "Qwen3MoeForCausalLM", norm_topk_prob=True)
    ),
    "qwen35moe": Architecture(hybrids.qwen35, (grouped_heads,)),
    "cohere2": Architecture(dense.cohere2),
    "qwen35": Architecture(hybrids.qwen35, (grouped_heads,)),
    "gemma": Architecture(dense.gemma, (norm_from_zero,), "bfloat16"),
    "gemma2": Architecture(dense.gemma2, (norm_from_zero,), "bfloat16"),
    "gemma3": Architecture(dense.gemma3, (norm_from_zero,), "bfloat16"),
    "gemma4": Architecture(hybrids.gemma4, (), "bfloat16"),
    "phi3": Architecture(dense.phi3),
    "olmo2": Architecture(dense.olmo2),
    "olmoe": Architecture(mixtures.olmoe),
    "starcoder2": Architecture(dense.starcoder2),
    "stablelm": Architecture(dense.stablelm),
    "command-r": Architecture(dense.command_r),
    "seed_oss": Architecture(dense.seed_oss),
    "ernie4_5": Architecture(dense.plain("ernie4_5", "Ernie4_5ForCausalLM", use_bias=False)),
    "hunyuan-dense": Architecture(
        dense.plain(
            "hunyuan_v1_dense", "HunYuanDenseV1ForCausalLM", use_qk_norm=True, attention_bias=False
        )
    ),
    "exaone4": Architecture(dense.exaone4),
    "glm4": Architecture(dense.glm4),
    "lfm2": Architecture(hybrids.lfm2),
    "nemotron": Architecture(dense.nemotron, (norm_from_zero,)),
    "gpt-oss": Architecture(mixtures.gpt_oss),
}


def architecture(name: str) -> Architecture:
    """Raises `UnsupportedArchitecture`, which lists what can be converted."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise UnsupportedArchitecture(name, sorted(ARCHITECTURES)) from None


def tensor_names(name: str, layers: int) -> Any:
    """GGUF's names of an architecture's tensors: gguf's `TensorNameMap`."""
    numbers = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    return gguf.get_tensor_name_map(numbers[name], layers)

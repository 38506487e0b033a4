"""Every command in one table: its words, what it needs, and the function that does it."""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Literal

from ollmlx.cli.flags import Flag, Misused, Words

EDITOR = ("OLLAMA_EDITOR", "Path to editor for interactive prompt editing (Ctrl+G)")
HOST = (
    "OLLAMA_HOST",
    "Address of the server (default: a Jupyter server of yours, else 127.0.0.1:11434)",
)
FIRST = ("OLLMLX_HOST", "The same, before OLLAMA_HOST; no other program reads it")
KEY = ("OLLAMA_API_KEY", "Token of the Jupyter server that OLLAMA_HOST names")
LISTENING = ("OLLAMA_HOST", "IP Address for the ollama server (default 127.0.0.1:11434)")
NO_HISTORY = ("OLLAMA_NOHISTORY", "Do not preserve readline history")
MODELS = ("OLLAMA_MODELS", "The path to the models directory")
SERVER = (
    ("OLLAMA_DEBUG", "Show additional debug information (e.g. OLLAMA_DEBUG=1)"),
    LISTENING,
    (
        "OLLAMA_CONTEXT_LENGTH",
        "Context length to use unless otherwise specified (default: 4k/32k/256k based on VRAM)",
    ),
    ("OLLAMA_KEEP_ALIVE", 'The duration that models stay loaded in memory (default "5m")'),
    ("OLLAMA_MAX_LOADED_MODELS", "Maximum number of loaded models (default 3)"),
    ("OLLAMA_MAX_QUEUE", "Maximum number of queued requests"),
    MODELS,
    ("OLLAMA_NOPRUNE", "Do not prune model blobs on startup"),
    ("OLLAMA_NUM_PARALLEL", "Maximum number of parallel requests"),
    ("OLLAMA_ORIGINS", "A comma separated list of allowed origins"),
    ("OLLAMA_FLASH_ATTENTION", "Enabled flash attention"),
    ("OLLAMA_KV_CACHE_TYPE", "Quantization type for the K/V cache (default: f16)"),
    ("OLLAMA_GO_TEMPLATE", "Force the Modelfile's TEMPLATE, or with 0 the weights' own"),
    (
        "OLLAMA_LOAD_TIMEOUT",
        'How long to allow model loads to stall before giving up (default "5m")',
    ),
    ("OLLMLX_EMBEDDED", "Whether the model embedded in ollmlx[demo] is listed (default 1)"),
)


@dataclass(frozen=True)
class Command:
    name: str
    usage: str
    """Its arguments, as help shows them."""
    help: str
    does: str
    """`module:function` in this package, imported when it is called for."""
    arguments: tuple[int, int | None] = (0, None)
    """How many it takes, at least and at most."""
    flags: tuple[Flag, ...] = ()
    needs: Literal["server", "engine", "nothing"] = "server"
    """With `engine` it gets one of its own where nobody serves."""
    aliases: tuple[str, ...] = ()
    lifted_by: str = ""
    """The flag that stands for all arguments."""
    as_if_one: bool = False
    """Ollama takes one where we take several, and its error says so."""
    hidden: bool = False
    environment: tuple[tuple[str, str], ...] = (HOST, FIRST, KEY)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    @property
    def function(self) -> Callable[..., Any]:
        found: Callable[..., Any] = resolve_name(f"ollmlx.cli.{self.does}")
        return found

    def check(self, words: Words) -> None:
        """Raises `Misused` for a number of arguments that it does not take."""
        (least, most), count = self.arguments, len(words.arguments)
        if self.lifted_by and words.on(self.lifted_by):
            least = 0
        if count < least and most is None and not self.as_if_one:
            raise Misused(f"requires at least {least} arg(s), only received {count}")
        if count < least or (most is not None and count > most):
            raise Misused(f"accepts {least} arg(s), received {count}")


JSON = Flag("json", "Print the server's answer as JSON")
INSECURE = Flag("insecure", "Use an insecure registry")
VERBOSE = Flag("verbose", "Show timings for response")
NO_WRAP = Flag("nowordwrap", "Don't wrap words to the next line automatically")

ROOT_FLAGS = (NO_WRAP, VERBOSE, Flag("version", "Show version information", letter="v"))

CREATE_FLAGS = (
    Flag("draft-quantize", "Quantize draft model to this level", "string"),
    Flag("experimental", "Enable experimental safetensors model creation"),
    Flag("file", 'Name of the Modelfile (default "Modelfile")', "string", "f"),
    Flag("quantize", "Quantize model to this level (e.g. q4_K_M)", "string", "q"),
)
SHOW_FLAGS = (
    JSON,
    Flag("license", "Show license of a model"),
    Flag("modelfile", "Show Modelfile of a model"),
    Flag("parameters", "Show parameters of a model"),
    Flag("source", "Show where the model is stored"),
    Flag("system", "Show system message of a model"),
    Flag("template", "Show template of a model"),
    Flag("verbose", "Show detailed model information", letter="v"),
)
RUN_FLAGS = (
    Flag(
        "dimensions",
        "Truncate output embeddings to specified dimension (embedding models only)",
        "int",
    ),
    Flag("format", "Response format (e.g. json)", "string"),
    Flag("hidethinking", "Hide thinking output (if provided)"),
    INSECURE,
    Flag("keepalive", "Duration to keep a model loaded (e.g. 5m)", "string"),
    NO_WRAP,
    Flag(
        "think",
        "Enable thinking mode: true/false or high/medium/low for supported models",
        "string",
        bare="true",
    ),
    Flag(
        "truncate",
        "For embedding models: truncate inputs exceeding context length (default: true). "
        "Set --truncate=false to error instead",
    ),
    VERBOSE,
)
CONVERT_FLAGS = (
    Flag("dtype", "Of scales, norms and dense weights: auto, float16, bfloat16, float32", "string"),
    Flag("quantize", "Quantize to this level (e.g. int4, int8-g32, mxfp4, mixed_4_6)", "string"),
    Flag("replace", "Take the place of a target that is there already"),
)

COMMANDS = (
    Command(
        *("serve", "", "Answer the Ollama API, without Jupyter", "serving:serve", (0, 0)),
        needs="nothing",
        aliases=("start",),
        environment=SERVER,
    ),
    Command("create", "MODEL", "Create a model", "creating:create", (1, 1), CREATE_FLAGS),
    Command("show", "MODEL", "Show information for a model", "showing:show", (1, 1), SHOW_FLAGS),
    Command(
        *("run", "MODEL [PROMPT]", "Run a model", "running:run", (1, None), RUN_FLAGS),
        needs="engine",
        environment=(EDITOR, HOST, FIRST, KEY, NO_HISTORY),
    ),
    Command(
        *("stop", "MODEL", "Stop a running model", "changing:stop", (1, 1)),
        (Flag("all", "Stop every running model"),),
        lifted_by="all",
    ),
    Command(
        *("pull", "MODEL [MODEL...]", "Pull a model from a registry", "transfers:pull", (1, None)),
        (INSECURE,),
        as_if_one=True,
        needs="engine",
    ),
    Command(
        *("push", "MODEL", "Push a model to a registry", "transfers:push", (1, 1)),
        (INSECURE,),
    ),
    Command(
        *("update", "[MODEL...]", "Pull models again", "transfers:update", (1, None)),
        (Flag("all", "Every model that came from a registry"), INSECURE),
        lifted_by="all",
    ),
    Command(
        *("signin", "", "Sign in to ollama.com", "account:sign_in", (0, 0)),
        aliases=("login",),
    ),
    Command(
        *("signout", "", "Sign out from ollama.com", "account:sign_out", (0, 0)),
        aliases=("logout",),
    ),
    Command(
        *("list", "[PREFIX]", "List models", "listing:list_models"),
        flags=(JSON, Flag("source", "Show where each model is stored")),
        aliases=("ls",),
    ),
    Command("ps", "[PREFIX]", "List running models", "listing:list_running", flags=(JSON,)),
    Command("cp", "SOURCE DESTINATION", "Copy a model", "changing:copy", (2, 2)),
    Command("rm", "MODEL [MODEL...]", "Remove a model", "changing:remove", (1, None)),
    Command(
        *("convert", "SOURCE [TARGET]", "Convert a model between GGUF and MLX"),
        *("converting:convert", (1, 2), CONVERT_FLAGS),
        needs="nothing",
        environment=(MODELS,),
    ),
    Command(
        *("launch", "", "Launch the Ollama menu or an integration", "serving:launch"),
        needs="nothing",
        hidden=True,
        environment=(),
    ),
    Command(
        *("help", "[command]", "Help about any command", "help:help_about"),
        needs="nothing",
        environment=(),
    ),
)


def find(name: str) -> Command | None:
    return next((command for command in COMMANDS if name in command.names), None)


def shown() -> list[Command]:
    return [command for command in COMMANDS if not command.hidden]

"""The commands of a conversation: `/set`, `/show`, `/load` and the others."""

from collections.abc import Callable

from ollmlx.cli import manual, media
from ollmlx.cli.connection import Refused
from ollmlx.cli.conversation import Conversation
from ollmlx.cli.lines import History
from ollmlx.cli.listing import show_models
from ollmlx.cli.showing import overview, plain
from ollmlx.cli.terminal import say, tell
from ollmlx.errors import BadRequest
from ollmlx.store.golang import quoted
from ollmlx.store.ollama.modelfile import typed

Words = list[str]
QUOTE = '"""'


class SlashCommands:
    def __init__(
        self, conversation: Conversation, history: History, quote: Callable[[str], None]
    ) -> None:
        self._conversation = conversation
        self._quote = quote
        """Called with the beginning of a system message of several lines."""
        self._commands: dict[str, Callable[[Words], None]] = {
            "/list": lambda words: show_models(conversation.connection, words),
            "/load": self._load,
            "/save": self._save,
            "/clear": self._clear,
            "/set": self._set,
            "/show": self._show,
            "/help": self._help,
            "/?": self._help,
        }
        self._settings: dict[str, Callable[[Words], None]] = {
            "history": lambda _: history.keep(True),
            "nohistory": lambda _: history.keep(False),
            "wordwrap": lambda _: self._style("wordwrap", wrap=True),
            "nowordwrap": lambda _: self._style("nowordwrap", wrap=False),
            "verbose": lambda _: self._style("verbose", verbose=True),
            "quiet": lambda _: self._style("quiet", verbose=False),
            "think": self._think,
            "nothink": self._think_not,
            "format": self._format,
            "noformat": self._unformat,
            "parameter": self._parameter,
            "system": self._system,
        }

    def take(self, line: str) -> bool:
        """Do what the line says; false when it is no command but names a file.

        A command is known by how the line begins, as in Ollama.
        """
        words = line.split()
        for name, command in self._commands.items():
            if line.startswith(name):
                command(words[1:])
                return True
        if self._conversation.session.multimodal and any(
            file.startswith(words[0]) for file in media.named(line)
        ):
            return False
        say(f"Unknown command '{words[0]}'. Type /? for help")
        return True

    # -- the model and what was said ---------------------------------------------------------------

    def _load(self, words: Words) -> None:
        if len(words) != 1:
            say("Usage:\n  /load <modelname>")
            return
        say(f"Loading model '{words[0]}'")
        try:
            self._conversation.change_model(words[0])
        except Refused as error:
            if "not found" not in str(error):
                raise
            say(f"Couldn't find model '{words[0]}'")

    def _save(self, words: Words) -> None:
        if len(words) != 1:
            say("Usage:\n  /save <modelname>")
            return
        try:
            self._conversation.save(words[0])
        except Refused as error:
            if "invalid model name" not in str(error):
                raise
            say(f"error: The model name '{words[0]}' is invalid")
        else:
            say(f"Created new model '{words[0]}'")

    def _clear(self, _: Words) -> None:
        self._conversation.forget()
        say("Cleared session context")

    # -- /set --------------------------------------------------------------------------------------

    def _set(self, words: Words) -> None:
        if not words:
            tell(manual.SET)
        elif change := self._settings.get(words[0]):
            change(words[1:])
        else:
            say(f"Unknown command '/set {words[0]}'. Type /? for help")

    def _style(self, mode: str, **changes: bool) -> None:
        for name, value in changes.items():
            setattr(self._conversation.session.style, name, value)
        say(f"Set '{mode}' mode.")

    def _think(self, words: Words) -> None:
        self._choose_thinking(words[0] if words else True)
        say(f"Set 'think' mode to '{words[0]}'." if words else "Set 'think' mode.")

    def _think_not(self, _: Words) -> None:
        self._choose_thinking(False)
        say("Set 'nothink' mode.")

    def _choose_thinking(self, think: bool | str) -> None:
        session = self._conversation.session
        session.think, session.think_chosen = think, True
        if not self._conversation.thinks():
            tell(f'warning: model "{session.model}" does not support thinking output')

    def _format(self, words: Words) -> None:
        if words[:1] != ["json"]:
            say("Invalid or missing format. For 'json' mode use '/set format json'")
            return
        self._conversation.session.format = "json"
        say("Set format to 'json' mode.")

    def _unformat(self, _: Words) -> None:
        self._conversation.session.format = ""
        say("Disabled format.")

    def _parameter(self, words: Words) -> None:
        if len(words) < 2:
            tell(manual.PARAMETERS)
            return
        name, *values = words
        try:
            value = typed(name, values[0])
        except BadRequest as error:
            say(f"Couldn't set parameter: {quoted(str(error))}")
            return
        self._conversation.options[name] = values if isinstance(value, list) else value
        say(f"Set parameter '{name}' to '{', '.join(values)}'")

    def _system(self, words: Words) -> None:
        text = " ".join(words)
        if not words:
            tell(manual.SET)
        elif text.startswith(QUOTE):
            self._quote(text.removeprefix(QUOTE))
        else:
            self.instruct(text)

    def instruct(self, text: str) -> None:
        self._conversation.instruct(text)
        say("Set system message.")

    # -- /show and help ----------------------------------------------------------------------------

    def _show(self, words: Words) -> None:
        if not words:
            tell(manual.SHOW)
            return
        about = self._conversation.about()
        match words[0]:
            case "info":
                tell(overview(about), end="")
            case "license":
                say(about.get("license") or "No license was specified for this model.")
            case "modelfile":
                say(about.get("modelfile", ""))
            case "parameters":
                self._show_parameters(about.get("parameters", ""))
            case "system":
                text = self._conversation.system or about.get("system")
                say(f"{text}\n" if text else "No system message was specified for this model.")
            case "template":
                say(about.get("template") or "No prompt template was specified for this model.")
            case other:
                say(f"Unknown command '/show {other}'. Type /? for help")

    def _show_parameters(self, text: str) -> None:
        none = "No additional parameters were specified for this model."
        lines = "".join(f"  {line}\n" for line in (text or none).split("\n"))
        say(f"Model defined parameters:\n{lines}")
        if options := self._conversation.options:
            mine = "".join(f"  {name:<30} {plain(value)}\n" for name, value in options.items())
            say(f"User defined parameters:\n{mine}")

    def _help(self, words: Words) -> None:
        if not words:
            files = manual.FILES if self._conversation.session.multimodal else ""
            tell(f"{manual.COMMANDS}{files}")
        elif text := manual.TOPICS.get(words[0]):
            tell(text)

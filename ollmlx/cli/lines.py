"""Lines typed at a terminal: editing, history, pastes and an editor of one's own."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.formatted_text import AnyFormattedText
from prompt_toolkit.history import History as KeptLines
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from ollmlx.cli.terminal import tell
from ollmlx.errors import OllmlxError
from ollmlx.settings import parse_switch

_KEPT = 100
_TAB = " " * 8
_PROMPT, _CONTINUED = ">>> ", "... "
_PLACEHOLDER, _CONTINUED_PLACEHOLDER = "Send a message (/? for help)", "Press Enter to send"
_GREY = Style.from_dict({"placeholder": "fg:#8a8a8a"})


class NoEditor(OllmlxError):
    """The editor for long prompts is missing, or failed."""


class History(KeptLines):
    """Ollama's file of the last hundred lines, which all conversations share."""

    def __init__(self, file: Path, kept: bool = True) -> None:
        super().__init__()
        self._file = file
        self._kept = kept

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "History":
        unwanted = parse_switch(environment.get("OLLAMA_NOHISTORY", ""))
        return cls(Path.home() / ".ollama" / "history", kept=not unwanted)

    def keep(self, kept: bool) -> None:
        self._kept = kept

    def load_history_strings(self) -> Iterable[str]:
        """Newest first."""
        return reversed(self._lines())

    def store_string(self, string: str) -> None:
        if not self._kept:
            return
        lines = [*self._lines(), string][-_KEPT:]
        beside = self._file.with_name(f"{self._file.name}.{os.getpid()}.tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside.touch(mode=0o600)
            beside.write_text("".join(f"{line}\n" for line in lines))
            beside.replace(self._file)
        except OSError as error:
            self._kept = False
            tell(f"warning: history is not kept: {error}")

    def _lines(self) -> list[str]:
        try:
            text = self._file.read_text(errors="replace")
        except OSError:  # there is none yet, or it is not for us
            return []
        return [line.strip() for line in text.split("\n") if line.strip()]


class LineEditor:
    def __init__(self, history: History) -> None:
        self._continued = False
        output = Vt100_Output.from_pty(sys.stdout)
        # Nothing here needs to know where the cursor is, and not every terminal can tell.
        output.enable_cpr = False
        self._session = PromptSession[str](
            self._prompt,
            history=history,
            input=_at_once(create_input()),
            output=output,
            multiline=True,
            prompt_continuation=_CONTINUED,
            placeholder=self._placeholder,
            key_bindings=_bindings(),
            style=_GREY,
            enable_suspend=True,
            include_default_pygments_style=False,
        )

    def read(self, continued: bool) -> str:
        """Raises `EOFError` for Ctrl-D and `KeyboardInterrupt` for Ctrl-C."""
        self._continued = continued
        return self._session.prompt()

    def _prompt(self) -> str:
        return _CONTINUED if self._continued else _PROMPT

    def _placeholder(self) -> AnyFormattedText:
        if get_app().is_done:  # it would stay on the screen
            return ""
        text = _CONTINUED_PLACEHOLDER if self._continued else _PLACEHOLDER
        return [("class:placeholder", text)]


def _edited(text: str) -> str:
    """The text as the user's editor leaves it.  Raises `NoEditor`."""
    named = (os.environ.get(name) for name in ("OLLAMA_EDITOR", "VISUAL", "EDITOR"))
    words = shlex.split(next(filter(None, named), "vi"))
    if not shutil.which(words[0]):
        advice = "set OLLAMA_EDITOR to the path of your preferred editor"
        raise NoEditor(f'editor "{words[0]}" not found, {advice}')
    with tempfile.TemporaryDirectory(prefix="ollmlx-") as folder:
        file = Path(folder, "prompt.txt")
        file.write_text(text)
        if status := subprocess.run([*words, str(file)], check=False).returncode:
            raise NoEditor(f"editor exited with error: exit status {status}")
        return file.read_text().rstrip("\n")


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("c-j")
    @bindings.add("escape", "enter")
    def break_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("tab")
    def indent(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(_TAB)

    @bindings.add("c-g")
    def edit(event: KeyPressEvent) -> None:
        buffer = event.current_buffer

        def open_editor() -> None:
            try:
                text = _edited(buffer.text)
            except OllmlxError as error:
                tell(f"error: {error}")
                return
            buffer.text = text
            buffer.cursor_position = len(text)

        run_in_terminal(open_editor)

    return bindings


def _at_once(keyboard: Input) -> Input:
    """The keyboard, where a line that comes in one piece ends with its newline.

    It was typed while an answer came, or sent by a program: then the terminal, or the program, made
    `\\n` of Enter, which is Ctrl-J when it comes alone.
    """
    read_keys = keyboard.read_keys

    def read() -> list[KeyPress]:
        keys = read_keys()
        if len(keys) == 1:
            return keys
        enter = KeyPress(Keys.ControlM, "\r")
        return [enter if press.key == Keys.ControlJ else press for press in keys]

    keyboard.read_keys = read  # type: ignore[method-assign]  # the one method of it to change
    return keyboard

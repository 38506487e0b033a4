"""Help, laid out as the library cobra does for Ollama."""

from ollmlx.cli.commands import COMMANDS, ROOT_FLAGS, Command, find, shown
from ollmlx.cli.flags import HELP, Flag, Words
from ollmlx.cli.terminal import program, say, tell

TITLE = "Large language models inside Jupyter, behind the Ollama API"


def help_about(words: Words) -> None:
    if not words.arguments:
        say(overview(), end="")
    elif command := find(words.arguments[0]):
        say(page(command), end="")
    else:
        topic = " ".join(f"`{word}`" for word in words.arguments)
        tell(f"Unknown help topic [{topic}]\n{_usage()}", end="")


def overview() -> str:
    return f"{TITLE}\n\n{_usage()}"


def page(command: Command) -> str:
    """All that there is to know about a command."""
    words = " ".join(part for part in (program(), command.name, command.usage) if part)
    text = f"{command.help}\n\nUsage:\n  {words} [flags]\n"
    if command.aliases:
        text += f"\nAliases:\n  {', '.join(command.names)}\n"
    text += f"\nFlags:\n{_flags(command.flags, command.name)}"
    if command.environment:
        text += "\nEnvironment Variables:\n"
        text += "".join(f"      {name:<27}   {about}\n" for name, about in command.environment)
    return text


def _usage() -> str:
    name = program()
    width = max(len(command.name) for command in COMMANDS) + 2
    rows = "".join(f"  {command.name:<{width}} {command.help}\n" for command in shown())
    return (
        f"Usage:\n  {name} [flags]\n  {name} [command]\n\nAvailable Commands:\n{rows}"
        f"\nFlags:\n{_flags(ROOT_FLAGS, name)}"
        f'\nUse "{name} [command] --help" for more information about a command.\n'
    )


def _flags(flags: tuple[Flag, ...], owner: str) -> str:
    """Sorted by name, the explanations in one column."""
    every = sorted((*flags, HELP), key=lambda flag: flag.name)
    left = {flag.name: _spelled(flag) for flag in every}
    width = max(map(len, left.values())) + 3
    about = {flag.name: flag.help or f"help for {owner}" for flag in every}
    return "".join(f"{left[flag.name]:<{width}}{about[flag.name]}\n" for flag in every)


def _spelled(flag: Flag) -> str:
    start = f"  -{flag.letter}, --" if flag.letter else "      --"
    value = "" if flag.kind == "bool" else f" {flag.kind}"
    bare = f'[="{flag.bare}"]' if flag.bare else ""
    return f"{start}{flag.name}{value}{bare}"

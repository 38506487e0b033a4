"""The command: `ollmlx serve` and `ollmlx convert`."""

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from ollmlx import __version__, names, settings
from ollmlx.convert import convert
from ollmlx.convert.refusals import TargetInTheWay
from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.room import Room
from ollmlx.settings import Settings
from ollmlx.store.library import Library


def main() -> NoReturn:
    try:
        sys.exit(run(sys.argv[1:]))
    except OllmlxError as error:
        sys.exit(f"Error: {error}")


def run(arguments: list[str]) -> int:
    """Raises `OllmlxError` for what the user can mend."""
    options = _parser().parse_args(arguments)
    return int(options.command(options, settings.from_environment()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "ollmlx", description="Local language models behind the Ollama API."
    )
    parser.add_argument(
        "-v", "--version", action="version", version=f"ollmlx version is {__version__}"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        aliases=["start"],
        help="answer the Ollama API on OLLAMA_HOST",
        description="Answer the Ollama API on OLLAMA_HOST (127.0.0.1:11434), without Jupyter.",
    )
    serve.set_defaults(command=_serve)
    change = commands.add_parser(
        "convert",
        help="make an MLX model of a GGUF model",
        description="Make an MLX model of a GGUF model. Quantised weights keep their bits.",
    )
    change.add_argument("source", help="a model's name, or a path of a .gguf file")
    change.add_argument(
        "target", nargs="?", help="its new name, or a path of a folder (default: SOURCE-mlx)"
    )
    change.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float16", "bfloat16", "float32"],
        help="of scales, norms and dense weights (default: auto)",
    )
    change.add_argument(
        "--replace", action="store_true", help="take the place of a target that is there already"
    )
    change.set_defaults(command=_convert)
    return parser


# -- serve ----------------------------------------------------------------------------------------


def _serve(_: argparse.Namespace, configured: Settings) -> int:
    logging.basicConfig(
        level=logging.DEBUG if configured.debug else logging.INFO,
        format='time=%(asctime)s level=%(levelname)s source=%(name)s msg="%(message)s"',
        stream=sys.stderr,
    )
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    room = Room(configured)
    room.start()
    try:
        port = room.open_door(configured.host, configured.port)
    except OSError as error:
        room.stop()
        where = f"{configured.host}:{configured.port}"
        raise OllmlxError(f"listen tcp {where}: bind: {error.strerror or error}".lower()) from error
    host = configured.host or "[::]"
    # Programs that start a server wait for this line of Ollama's.
    logging.getLogger(__name__).info("Listening on %s:%s (version %s)", host, port, __version__)
    stopped.wait()
    room.stop()
    return 0


# -- convert --------------------------------------------------------------------------------------


def _convert(options: argparse.Namespace, configured: Settings) -> int:
    library = Library(configured)
    model = library.find(options.source)
    if model.format != "gguf":
        raise BadRequest(f"{model.name} is an MLX model already")
    target = _target(library, model.name, options.target)
    try:
        done = convert(
            Path(model.path), target, Progress(sys.stderr.isatty()), options.dtype, options.replace
        )
    except TargetInTheWay as error:
        raise BadRequest(f"{error}: --replace puts the new one in its place") from error
    _say(f"{done.architecture}: {done.arrays} arrays, {done.bytes / 1e6:.1f} MB")
    _say(f" in {done.seconds:.1f} s → {target}\n")
    if done.requantised:
        kinds = ", ".join(sorted(set(done.requantised.values())))
        _say(f"{len(done.requantised)} tensors lost a little precision: MLX has no {kinds}\n")
    return 0


def _target(library: Library, source: str, target: str | None) -> Path:
    """A name goes into the store; a path is taken as it is."""
    if target and (path := names.as_path(target)):
        return path
    if not target and names.as_path(source):
        return Path(source).with_suffix("")
    name = names.parse(target or f"{source}-mlx")
    if _taken(library, name):
        raise BadRequest(f"{name.display} is a GGUF model: give the MLX one another name")
    return library.mlx_path(name)


def _taken(library: Library, name: names.Name) -> bool:
    """Whether a model that is not MLX goes by this name, and would hide one that is."""
    return any(
        m.full_name.lower() == name.full.lower() and m.format != "mlx" for m in library.list()
    )


class Progress:
    """One line that fills up; on anything but a terminal, nothing."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown

    def __call__(self, stage: str, fraction: float) -> None:
        if self._shown:
            bar, end = "█" * int(fraction * 30), "\n" if stage == "saving" else ""
            _say(f"\r{stage:<10} ▕{bar:<30}▏ {fraction:4.0%}{end}")


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


if __name__ == "__main__":
    main()

"""Run as `python -m ollmlx.convert SOURCE TARGET [QUANTIZE]` by `subprocesses.progress`: an MLX
model out of a GGUF file or of another folder, told line by line.
"""

from pathlib import Path

from ollmlx.convert import convert, quantise
from ollmlx.convert.subprocesses import child, tell

_OF = 1000


def work(arguments: list[str]) -> None:
    source, target, kind = Path(arguments[0]), Path(arguments[1]), "".join(arguments[2:])

    def report(stage: str, fraction: float) -> None:
        tell(stage=stage, done=int(fraction * _OF), of=_OF)

    if source.is_dir():
        quantise(source, target, kind, report)
    else:
        convert(source, target, report, quantize=kind)


if __name__ == "__main__":
    child(work)

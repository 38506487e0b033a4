"""Builds the repository's `.venv` with nothing but Python and pip, for `python3 notebooks|tests`.

Syntax and imports are those of Python 3.6: an old one has to come as far as being told so.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
UV = ROOT / ".venv-uv"
LOG = UV / "sync.log"
STAMP = VENV / ".in-sync"
# Folders of which installing copies the files; the rest of the package is used where it lies.
COPIED = ("jupyter_ext/config", "jupyter_ext/lab", "ollmlx/widgets/front")
PYTHON = (3, 11)
UV_VERSION = "uv>=0.13,<0.14"
NO_PYTHON = """\
ollmlx needs Python {need} or newer, and this is {have} ({where}).
Run the command with a newer one, for example: python3.12 {command}"""
NO_PIP = """\
{where} has no pip.  Install it first:
  Debian, Ubuntu:  sudo apt install python3-pip
  Fedora:          sudo dnf install python3-pip
  elsewhere:       {where} -m ensurepip --user"""
NO_COMPILER = """\
llama.cpp is compiled during installation, and here is no C and C++ compiler.  Install one first:
  Debian, Ubuntu:  sudo apt install build-essential
  Fedora:          sudo dnf install gcc-c++
  macOS:           xcode-select --install"""
FIRST_TIME = """\
Setting up {venv}: about 260 packages, and llama.cpp compiled for this machine.
This takes 2 to 5 minutes on two cores the first time, and no time afterwards."""


class NotPossible(Exception):
    """The environment cannot be built here; the text tells the user what to do."""


def prepare():
    """Bring `.venv` up to date with uv.lock and return its Python.  Raises `NotPossible`."""
    check_python(sys.version_info)
    python = VENV / "bin" / "python"
    wanted = fingerprint()
    if python.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return python
    check_tools()
    say(FIRST_TIME.format(venv=VENV))
    install_uv()
    sync()
    STAMP.write_text(wanted)
    return python


def run(command):
    """Prepare, then become `.venv`'s Python with the arguments `command`, in the root."""
    try:
        python = prepare()
    except NotPossible as error:
        sys.exit(str(error))
    os.chdir(str(ROOT))
    # Programs that the environment brings are found first: `!ollmlx` in a notebook is ours.
    os.environ["PATH"] = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    os.environ["VIRTUAL_ENV"] = str(VENV)
    os.execv(str(python), [str(python), *command])


def check_python(version):
    if tuple(version[:2]) < PYTHON:
        need, have = (".".join(map(str, v[:2])) for v in (PYTHON, version))
        command = " ".join(sys.argv)
        raise NotPossible(
            NO_PYTHON.format(need=need, have=have, where=sys.executable, command=command)
        )


def check_tools():
    """Compiling is known to be possible before ten minutes of downloads, not after."""
    for variable, names in (("CC", ("cc", "gcc", "clang")), ("CXX", ("c++", "g++", "clang++"))):
        named = os.environ.get(variable)
        if not any(map(shutil.which, [shlex.split(named)[0]] if named else names)):
            raise NotPossible(NO_COMPILER)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--version"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if done.returncode:
        raise NotPossible(NO_PIP.format(where=sys.executable))


def fingerprint():
    """Changes when the lock, the project's metadata, the Python or a file that is copied does."""
    digest = hashlib.sha256(sys.version.encode())
    files = [ROOT / name for name in ("uv.lock", "pyproject.toml")]
    files += [ROOT / ".ci" / name for name in ("environment.py", "llama-lean.cmake")]
    for folder in COPIED:
        files += sorted(path for path in (ROOT / folder).rglob("*") if path.is_file())
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def install_uv():
    """uv goes into a folder of its own: neither the user's Python nor their uv is touched."""
    if (UV / "bin" / "uv").exists() and (UV / "version").read_text() == UV_VERSION:
        return
    shutil.rmtree(str(UV), ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--target", str(UV), UV_VERSION]).returncode:
        raise NotPossible("pip could not install uv; its messages above say why.")
    (UV / "version").write_text(UV_VERSION)


def sync():
    """Run `uv sync`, showing what matters of what it says; all of it goes to a log."""
    command = [str(UV / "bin" / "uv"), "sync", "--verbose", "--frozen", "--all-extras"]
    command += ["--no-extra", "cuda", "--python", sys.executable]
    environment = dict(os.environ, CMAKE_ARGS=cmake_arguments(), UV_PROJECT_ENVIRONMENT=str(VENV))
    environment.pop("VIRTUAL_ENV", None)  # of a shell that the user is in: uv would warn about it
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=str(ROOT),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        errors="replace",
    )
    with process, LOG.open("w") as log:
        follow(process.stdout, log)
    if process.returncode:
        tail = "".join(LOG.read_text().splitlines(True)[-25:])
        raise NotPossible("{}\nuv sync failed; all it said is in {}".format(tail, LOG))
    say("Ready after {:.0f} s.".format(time.monotonic() - started))


def cmake_arguments():
    """The user's own CMAKE_ARGS behind ours, so that theirs win."""
    lean = "-DCMAKE_PROJECT_INCLUDE={}".format(ROOT / ".ci" / "llama-lean.cmake")
    return " ".join([shlex.quote(lean), os.environ.get("CMAKE_ARGS", "")]).strip()


def follow(lines, log):
    """Copy `lines` to the log; show uv's own messages, and the steps of compiling as a share."""
    step = re.compile(r"DEBUG \[(\d+)/(\d+)\] ")
    shown = -1
    for line in lines:
        log.write(line)
        found = step.match(line)
        if found:
            percent = 100 * int(found.group(1)) // int(found.group(2))
            if percent // 5 != shown // 5 or percent == 100 != shown:
                say("  compiling llama.cpp: {:3d} %".format(percent))
            shown = percent
        elif not line.startswith(("DEBUG", "TRACE", "INFO", "WARN", " + ")) and line.strip():
            say("  " + line.rstrip())


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        prepare()
    except NotPossible as error:
        sys.exit(str(error))

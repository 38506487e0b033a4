"""What the repository says about itself is true."""

import ast
import importlib.util
import io
import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from ollmlx.notebook.arguments import cell_help

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = sorted([*ROOT.glob("ollmlx/**/*.py"), *ROOT.glob("jupyter_ext/**/*.py")])
VAGUE = {"utils", "util", "helpers", "common", "base", "types", "misc"}


def module(path: str) -> ModuleType:
    """A file of the repository that is in no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(loaded := importlib.util.module_from_spec(spec))
    return loaded


environment = module(".ci/environment.py")


def shell_blocks(page: str) -> str:
    return "\n".join(re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL))


def test_the_two_commands_of_the_readme_are_there():
    commands = shell_blocks("README.md")
    for folder in ("notebooks", "tests"):
        assert f"python3 {folder} " in commands
        assert (ROOT / folder / "__main__.py").exists()
    assert (ROOT / "notebooks/01-first-chat.ipynb").exists()


def test_every_link_of_the_pages_leads_to_a_file():
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_lists_the_extras_that_users_install():
    named = set(re.findall(r"^\| `ollmlx\[(\w+)\]`", (ROOT / "README.md").read_text(), re.M))
    assert named == set(PROJECT["optional-dependencies"]) - {"dev", "docs"}


def test_the_changelog_begins_with_what_is_not_released():
    headings = re.findall(r"^## (.*)$", (ROOT / "docs/changelog.md").read_text(), re.M)
    assert headings[0] == "Unreleased"


def test_the_tables_of_the_documentation_are_those_of_the_code():
    for name, text in module("docs/tables.py").tables().items():
        assert (ROOT / "docs/generated" / name).read_text() == text, "run python docs/tables.py"


def test_the_guide_explains_every_option_of_the_magic():
    page = (ROOT / "docs/guide/notebook.md").read_text()
    options = re.findall(r"--[a-z-]+", cell_help())
    assert {option for option in options if f"`{option}`" not in page} == set()


def test_every_module_opens_with_a_sentence():
    silent = [
        str(file.relative_to(ROOT))
        for file in SOURCES
        if file.read_text().strip() and not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert silent == []


def test_no_module_has_a_name_that_says_nothing():
    assert [file for file in SOURCES if file.stem in VAGUE] == []


def test_files_have_one_subject_and_functions_fit_a_screen():
    long = []
    for file in SOURCES:
        text = file.read_text()
        if (lines := text.count("\n")) > 400:
            long.append(f"{file.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > 50:
                    long.append(f"{file.relative_to(ROOT)}: {node.name} has {lines} lines")
    assert long == []


def test_an_old_python_is_told_which_one_it_takes():
    with pytest.raises(environment.NotPossible, match=r"needs Python 3\.11 .* this is 3\.8"):
        environment.check_python((3, 8, 10))
    environment.check_python((3, 11, 0))


def test_the_environment_is_for_the_python_that_the_project_wants():
    assert PROJECT["requires-python"] == ">=" + ".".join(map(str, environment.PYTHON))


def test_the_environment_is_written_for_old_pythons():
    ast.parse((ROOT / ".ci/environment.py").read_text(), feature_version=(3, 6))
    for folder in ("notebooks", "tests"):
        ast.parse((ROOT / folder / "__main__.py").read_text(), feature_version=(3, 6))


def test_an_environment_is_out_of_date_when_a_file_that_it_copies_changes():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert set(environment.COPIED) == set(build["targets"]["wheel"]["shared-data"])


def test_the_extension_is_switched_on_by_the_file_that_switches_it_off():
    """`jupyter server extension disable` writes a file of that name: any later one would win."""
    (file,) = (ROOT / "jupyter_ext/config/jupyter_server_config.d").iterdir()
    assert json.loads(file.read_text()) == {"ServerApp": {"jpserver_extensions": {file.stem: True}}}


def test_without_a_compiler_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(environment.NotPossible, match="build-essential"):
        environment.check_tools()


def test_cmake_arguments_of_the_user_come_after_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_CUDA=on")
    ours, theirs = shlex.split(environment.cmake_arguments())
    assert ours.startswith("-DCMAKE_PROJECT_INCLUDE=")
    assert Path(ours.partition("=")[2]).exists()
    assert theirs == "-DGGML_CUDA=on"


def test_compiling_is_shown_as_a_share_and_logged_in_full(capsys: pytest.CaptureFixture[str]):
    lines = ["DEBUG noise\n", "   Building llama-cpp-python\n", " + ruff==1\n"]
    lines += [f"DEBUG [{step}/136] g++\n" for step in range(1, 137)]
    environment.follow(lines, log := io.StringIO())
    shown = capsys.readouterr().err.splitlines()
    assert log.getvalue() == "".join(lines)
    assert shown[0].strip() == "Building llama-cpp-python"
    assert shown[-1].strip() == "compiling llama.cpp: 100 %"
    assert 10 < len(shown) < 30


def test_the_checks_of_ci_end_with_the_tests():
    script = (ROOT / ".ci/run").read_text()
    assert script.splitlines()[-2:] == ["check python3 tests", "exit $failed"]
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True)


def test_the_licence_is_apache():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"

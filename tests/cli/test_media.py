"""Pictures and sounds in prompts."""

import base64

import pytest

from ollmlx.cli import media

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def test_files_that_are_there_are_read_and_leave_the_text(tmp_path, capsys):
    (tmp_path / "a cat.png").write_bytes(PNG)
    (tmp_path / "b.WAV").write_bytes(b"RIFF\0\0\0\0WAVE")
    escaped = str(tmp_path / "a cat.png").replace(" ", "\\ ")
    prompt, files = media.extract(f"what is {escaped} and '{tmp_path}/b.WAV' and /not/there.jpg")
    assert prompt == "what is  and  and /not/there.jpg"
    assert base64.b64decode(files[0]) == PNG
    assert len(files) == 2
    told = capsys.readouterr().err.splitlines()
    assert told == [f"Added image '{tmp_path}/a cat.png'", f"Added audio '{tmp_path}/b.WAV'"]


def test_a_file_of_another_kind_is_refused(tmp_path, capsys):
    (tmp_path / "x.png").write_text("text")
    with pytest.raises(media.NotMedia, match="invalid file type: text/plain; charset=utf-8"):
        media.extract(f"look at {tmp_path}/x.png")
    assert capsys.readouterr().err.startswith("Couldn't process file: ")


@pytest.mark.parametrize(
    "text", ["and/or " + "so on " * 60 + "as in a.png", "/a\0b.png", "{}/c.png"]
)
def test_what_cannot_be_a_path_is_text(tmp_path, text):
    (file := tmp_path / "file").touch()
    assert media.extract(text.format(file)) == (text.format(file), [])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(media.NotMedia, match=r"open /.*/x\.png: Is a directory"):
        media.extract(f"{tmp_path}/x.png")

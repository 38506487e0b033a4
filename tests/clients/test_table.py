"""The table of the documentation, compared with what the tests beside it saw.

Its name sorts behind those of the clients, so it runs last.
"""

import pytest

from tests.clients.table import FILE, GGUF, MLX, Record, read, text


def test_the_table_of_the_documentation_is_what_these_tests_saw(record, whole, request):
    if request.config.getoption("--write-table", default=False):
        pytest.skip("the table is being written")
    written, seen = read(FILE.read_text(encoding="utf-8")), record.seen
    hint = "run .venv/bin/python -m pytest tests/clients --write-table"
    assert {sight: written.get(sight) for sight in seen} == seen, hint
    if whole:
        assert set(written) - set(seen) - record.not_run == set(), hint


def test_a_table_reads_back_as_what_was_seen():
    record = Record()
    record.add("b", ("chat", "tools"), "passed")
    record.add("b", ("chat",), "failed")
    record.add("A", ("errors",), "passed")
    record.add("b", ("images",), "passed", MLX)
    record.add("A", ("pull",), "skipped")
    assert record.seen == {
        ("b", "chat", GGUF): False,
        ("b", "tools", GGUF): True,
        ("b", "images", MLX): True,
        ("A", "errors", GGUF): True,
    }
    assert record.not_run == {("A", "pull", GGUF)}
    assert text(record.seen).splitlines()[0] == "| Feature | A | b |"
    assert read(text(record.seen)) == record.seen


def test_a_feature_that_the_table_does_not_know_is_refused():
    with pytest.raises(ValueError, match="no feature of the table: dancing"):
        Record().add("a", ("dancing",), "passed")

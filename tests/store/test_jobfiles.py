"""Jobs on the disk: whose they are, and what is left of them."""

from ollmlx.store.jobfiles import JobFiles, KeptJob

JOB = KeptJob("a1", "pull", "m:latest", {"model": "m"}, "running", "2026-01-01T00:00:00Z")
SCRIPT = """
import sys
from pathlib import Path
from ollmlx.store.jobfiles import JobFiles, KeptJob
JobFiles(Path(sys.argv[1])).write(KeptJob("b2", "pull", "n", {}, "running", "2026-01-02"))
"""


def test_a_job_of_a_server_that_lives_is_nobody_elses(tmp_path):
    files = JobFiles(tmp_path)
    files.write(JOB)
    assert files.abandoned() == []
    assert JobFiles(tmp_path).abandoned() == []


def test_what_cannot_be_read_is_no_job(tmp_path):
    files = JobFiles(tmp_path)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/x.json").write_bytes(b'{"id": ')
    assert files.abandoned() == []

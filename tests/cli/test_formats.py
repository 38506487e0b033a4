"""Numbers and times in Ollama's words; the values are what its own functions answered."""

from datetime import UTC, datetime, timedelta

import pytest

from ollmlx.cli import formats

NOW = datetime(2026, 8, 1, tzinfo=UTC)
HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1500, "1.5 KB"),
        (98_362_432, "98 MB"),
        (2_000_000_000, "2 GB"),
        (2_019_393_189, "2.0 GB"),
        (4_661_224_676, "4.7 GB"),
        (12_900_000_000, "12 GB"),
        (1_200_000_000_000, "1.2 TB"),
    ],
)
def test_sizes(count, text):
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (999, "999"),
        (26_400, "26K"),
        (137_000_000, "137M"),
        (134_515_008, "134.52M"),
        (7_000_000_000, "7B"),
        (3_212_749_888, "3.2B"),
    ],
)
def test_parameter_counts(count, text):
    assert formats.parameters(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1.9, "1 second"),
        (59, "59 seconds"),
        (119, "About a minute"),
        (3599, "59 minutes"),
        (1.4 * HOUR, "About an hour"),
        (1.5 * HOUR, "2 hours"),
        (47 * HOUR, "47 hours"),
        (3 * DAY, "3 days"),
        (15 * DAY, "2 weeks"),
        (90 * DAY, "3 months"),
        (3 * 365 * DAY, "3 years"),
    ],
)
def test_times_are_told_as_one_would(seconds, text):
    assert formats.words(seconds) == text
    assert formats.relative(NOW - timedelta(seconds=seconds), NOW) == f"{text} ago"


def test_the_future_for_ever_and_never():
    assert formats.relative(NOW + timedelta(minutes=4, seconds=1), NOW) == "4 minutes from now"
    assert formats.relative(formats.moment("2318-11-22T10:00:00.123456789Z"), NOW) == "Forever"
    assert formats.relative(formats.moment("0001-01-01T00:00:00Z"), NOW) == "Never"


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (999, "999ns"),
        (1_500, "1.5µs"),
        (4_071_084, "4.071084ms"),
        (4_648_158_584, "4.648158584s"),
        (2_500_000_000, "2.5s"),
        (63_200_000_000, "1m3.2s"),
        (3_600_000_000_000, "1h0m0s"),
        (-1_000_000, "-1ms"),
    ],
)
def test_durations_as_go_prints_them(nanoseconds, text):
    assert formats.duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (45, "45s"), (63, "1m3s"), (7500, "2h5m"), (360_000, "99h+")],
)
def test_what_is_left_of_a_download(seconds, text):
    assert formats.eta(seconds) == text

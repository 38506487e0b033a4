"""Numbers, sizes and times in the words that Ollama uses for people."""

from datetime import UTC, datetime

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB"))


def size(count: int) -> str:
    """Bytes in decimal units: `4.7 GB`, `12 GB`, `999 B`."""
    for unit, name in _UNITS:
        if count >= unit:
            whole, part = divmod(count, unit)
            return f"{whole} {name}" if whole >= 10 or not part else f"{count / unit:.1f} {name}"
    return f"{count} B"


def parameters(count: int) -> str:
    """`3.2B`, `7B`, `134.52M`, `512K`."""
    for unit, letter, places in ((10**9, "B", 1), (10**6, "M", 2)):
        if count >= unit:
            return f"{count / unit:.{0 if count % unit == 0 else places}f}{letter}"
    return f"{count / 1000:.0f}K" if count >= 1000 else str(count)


def moment(text: str) -> datetime:
    """An RFC 3339 time, with as many digits of a second as the server sent."""
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def relative(when: datetime, now: datetime) -> str:
    """`2 weeks ago`, `4 minutes from now`, `Forever`, and `Never` for Go's zero time."""
    if when == _NEVER:
        return "Never"
    seconds = (now - when).total_seconds()
    if int(int(seconds / 3600) / 24) / 365 <= -21:
        return "Forever"
    return f"{words(-seconds)} from now" if seconds < 0 else f"{words(seconds)} ago"


def words(seconds: float) -> str:
    """A duration as one would say it: `About a minute`, `4 hours`."""
    for limit, unit, once in ((60, 1, "1 second"), (3600, 60, "About a minute")):
        if seconds < limit:
            count = int(seconds / unit)
            name = "seconds" if unit == 1 else "minutes"
            return {0: "Less than a second", 1: once}.get(count, f"{count} {name}")
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, unit, name in (
        (48, 1, "hours"),
        (24 * 14, 24, "days"),
        (24 * 60, 24 * 7, "weeks"),
        (24 * 365 * 2, 24 * 30, "months"),
    ):
        if hours < limit:
            return f"{hours // unit} {name}"
    return f"{int(seconds / 3600) // 24 // 365} years"


def duration(nanoseconds: int) -> str:
    """As Go prints one: `1.234567ms`, `2.5s`, `1m3.2s`, `1h0m0s`."""
    if nanoseconds < 0:
        return f"-{duration(-nanoseconds)}"
    for unit, name in ((1, "ns"), (10**3, "µs"), (10**6, "ms")):
        if 0 < nanoseconds < unit * 1000:
            return f"{_decimal(nanoseconds, unit)}{name}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    seconds = f"{_decimal(rest, 10**9)}s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def eta(seconds: int) -> str:
    """What is left of a download: `45s`, `1m3s`, `2h5m`, `99h+`."""
    if seconds >= 100 * 3600:
        return "99h+"
    if seconds >= 3600:
        return f"{seconds // 3600}h{seconds // 60 % 60}m"
    return duration(seconds * 10**9)


def _decimal(count: int, unit: int) -> str:
    whole, part = divmod(count, unit)
    digits = f"{part:0{len(str(unit)) - 1}d}".rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)

"""`.ollmlx` on the tables of pandas and polars, once either of them is imported."""

import sys
from typing import Any

from ollmlx.batch.frames import ANSWER
from ollmlx.batch.questions import Prompt

_NAME = "ollmlx"


class OfSeries:
    """`series.ollmlx`."""

    def __init__(self, series: Any) -> None:
        self._series = series

    def map(self, prompt: Prompt = "{}", schema: Any = None, **how: Any) -> Any:
        """`ollmlx.map` of the series: a Series of answers, or a frame with a column a field."""
        from ollmlx.batch.mapping import map as ask  # only now: it loads an HTTP client

        return ask(self._series, prompt, schema, **how)

    def embed(self, model: str, **how: Any) -> Any:
        """The embedding of each text, a list of floats, as a Series.  `how` is `embed`'s."""
        from ollmlx.batch.mapping import embed

        return embed(self._series, model, **how)


class OfFrame:
    """`frame.ollmlx`."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def map(self, prompt: Prompt, schema: Any = None, **how: Any) -> Any:
        """The frame with its answers as further columns.

        A column that is there already keeps its name, and the new one gets `_answer` behind.
        """
        from ollmlx.batch.mapping import map as ask

        answers = ask(self._frame, prompt, schema, **how)
        new = answers.to_frame() if hasattr(answers, "to_frame") else answers
        taken = {name: f"{name}_{ANSWER}" for name in new.columns if name in self._frame.columns}
        if type(self._frame).__module__.startswith("pandas"):
            return self._frame.join(new.rename(columns=taken))
        return self._frame.hstack(new.rename(taken))


def register() -> None:
    """Put `.ollmlx` on the tables of whichever library is imported by now; twice is once."""
    for library, kind in (("pandas", "accessor"), ("polars", "namespace")):
        tables = sys.modules.get(library)
        api = getattr(tables, "api", None)  # not there yet while the library is being imported
        if tables is None or api is None or hasattr(tables.Series, _NAME):
            continue
        registry = getattr(api, "extensions", api)
        getattr(registry, f"register_series_{kind}")(_NAME)(OfSeries)
        getattr(registry, f"register_dataframe_{kind}")(_NAME)(OfFrame)

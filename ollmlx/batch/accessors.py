"""`.ollmlx` on the tables of pandas and polars, as soon as either of them is imported."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ollmlx.batch.questions import Prompt

_NAME = "ollmlx"
_KINDS = {"pandas": "accessor", "polars": "namespace"}
"""How either library calls an extension of its tables."""


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

        A column that is there already keeps its name, and the new one gets `_answer` behind, and a
        number if that is taken, too.
        """
        from ollmlx.batch.frames import free, table
        from ollmlx.batch.mapping import map as ask

        new = ask(table(self._frame, wide=True), prompt, schema, **how)
        names = free(new.columns, self._frame.columns)
        if hasattr(self._frame, "assign"):  # pandas
            # Row by row: labels of an index may be there twice, and `join` would multiply them.
            return self._frame.assign(**{names[name]: new[name].array for name in new.columns})
        return self._frame.hstack(new.rename(names))


def register() -> None:
    """Put `.ollmlx` on the tables of pandas and polars, now or as soon as they are imported."""
    unwatch()
    sys.meta_path.insert(0, _Watcher())
    for library in _KINDS:
        if library in sys.modules:
            _extend(library)


def unwatch() -> None:
    """Tables that have it keep it; libraries that are imported from now on do not get it."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Watcher)]


class _Watcher(MetaPathFinder):
    """Finds nothing itself, and sees what is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _KINDS:
            return None
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder != self)
        spec = next((spec for spec in found if spec), None)
        if spec and spec.loader:
            _then(spec.loader, lambda: _extend(name))
        return spec


def _then(loader: Any, act: Callable[[], None]) -> None:
    """Have a loader act once it has loaded its module."""
    load = loader.exec_module

    def load_and_act(module: ModuleType) -> None:
        load(module)
        act()

    loader.exec_module = load_and_act


def _extend(library: str) -> None:
    tables, kind = sys.modules[library], _KINDS[library]
    api = getattr(tables, "api", None)  # not there yet while the library is being imported
    if api is None or hasattr(tables.Series, _NAME):
        return
    registry = getattr(api, "extensions", api)
    getattr(registry, f"register_series_{kind}")(_NAME)(OfSeries)
    getattr(registry, f"register_dataframe_{kind}")(_NAME)(OfFrame)

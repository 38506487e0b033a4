"""Packages of clients that are imported when a test first uses them.

Together they take ten seconds, which processes that run other tests need not wait for.
"""

from importlib import import_module
from typing import Any


class Late:
    """Has what the module of that name has."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what pytest asks of everything in a file of tests
            raise AttributeError(name)
        return getattr(import_module(self._name), name)

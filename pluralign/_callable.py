"""Rooms that share their name with their main function: `pluralign.evaluate(...)` and `pluralign.evaluate.figures`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


def make_callable(module: str) -> None:
    """Let a module be called like the function in it that has its name.

    Python binds a sub-package to its parent whenever it is imported, so without this `pluralign.evaluate` would be
    the function or the package depending on what was imported before.
    """
    sys.modules[module].__class__ = _CallableModule

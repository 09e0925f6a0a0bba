"""Public formats, one small module each.

A module here that defines `FORMAT` is found by itself: adding a format is adding a file.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from pluralign.feedback.formats._format import Format, Record, Sample

__all__ = ["Format", "Record", "Sample", "formats"]


@functools.cache
def formats() -> dict[str, Format]:
    """Every format by name, in the order of their names."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            fmt: Format = importlib.import_module(f"{__name__}.{module.name}").FORMAT
            found[fmt.name] = fmt
    return dict(sorted(found.items()))

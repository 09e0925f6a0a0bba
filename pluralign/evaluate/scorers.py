"""Scorers of a sample, by name."""

from __future__ import annotations

from collections.abc import Callable

from pluralign.errors import OptionError


def load_function(name: str) -> Callable[[str, str], float]:
    """The function in `module:function`, or `length`: characters of the response, the scorer that others must beat.

    >>> load_function("operator:eq")("a", "a")
    True
    >>> load_function("length")("a prompt", "four")
    4
    """
    import importlib
    import sys

    if name == "length":
        return lambda prompt, response: len(response)
    module, colon, function = name.partition(":")
    if not colon:
        raise OptionError(f"--scorer {name}: write it as module:function, or length")
    if "" not in sys.path:
        # An installed command, unlike python -m, does not look where it is started.
        sys.path.insert(0, "")
    try:
        found: Callable[[str, str], float] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"--scorer {name}: {error}") from None
    return found

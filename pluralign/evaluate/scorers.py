"""Scorers of a sample, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pluralign.errors import OptionError


def load_function(name: str) -> Callable[[str, str], float]:
    """The function in `module:function`, or `length`: characters of the response, the scorer that others must beat.

    >>> load_function("operator:eq")("a", "a")
    True
    >>> load_function("length")("a prompt", "four")
    4
    """
    if name == "length":
        return lambda prompt, response: len(response)
    if ":" not in name:
        raise OptionError(f"--scorer {name}: write it as module:function, or length")
    found: Callable[[str, str], float] = load_object(name, "--scorer")
    return found


def load_object(name: str, option: str) -> Any:
    """What `module:name` names, looked for where the command is started too. option: what was given, for errors.

    >>> load_object("math:pi", "--judge") > 3
    True
    """
    import importlib
    import sys

    module, colon, attribute = name.partition(":")
    if not colon:
        raise OptionError(f"{option} {name}: write it as module:name")
    if "" not in sys.path:
        # An installed command, unlike python -m, does not look where it is started.
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"{option} {name}: {error}") from None

"""Names of items and their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.errors import OptionError


def places(
    known: Sequence[str] | Mapping[str, int], names: ArrayLike, what: str = "items that were ranked"
) -> NDArray[np.intp]:
    """Places of names in a list, or in a table of places, any shape. Raises `OptionError` for one that is not there.

    >>> places(["a", "b"], [["b", "a"]])
    array([[1, 0]])
    """
    place = known if isinstance(known, Mapping) else {name: i for i, name in enumerate(known)}
    asked = np.asarray(names, dtype=object)
    unknown = sorted({str(name) for name in asked.ravel() if str(name) not in place})
    if unknown:
        raise OptionError(f"'{unknown[0]}' is not among the {len(place):,} {what}")
    return np.array([place[str(name)] for name in asked.ravel()], dtype=np.intp).reshape(asked.shape)


def recoded(items: Sequence[str], codes: NDArray[np.int32], known: Sequence[str]) -> NDArray[np.int32]:
    """Codes of `items` as codes of another list of names. Raises `OptionError` for a used name that it lacks."""
    used = np.unique(codes)
    code = np.full(len(items), -1, dtype=np.int32)
    code[used] = places(known, [items[i] for i in used])
    return code[codes]

"""One number chosen from many people's ideals, by a median with phantom voters."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pluralign.errors import OptionError


def uniform_phantom(reports: ArrayLike) -> float:
    """The median of n reports in [0, 1] and of n + 1 phantoms 0, 1/n, 2/n, ..., 1.

    Nobody gains by reporting anything but their ideal, whatever others do, if closer is better for them; and where k
    of n people want 1 and the others 0, the outcome is k/n: groups pull in proportion to their size (Freeman,
    Pennock, Peters and Vaughan 2021; Aziz, Lam, Lee and Walsh 2022). Raises `OptionError` for numbers outside.

    >>> round(uniform_phantom([0.2, 0.2, 0.9]), 6)
    0.333333
    """
    values = np.asarray(reports, dtype=np.float64).ravel()
    if not values.size:
        raise OptionError("the uniform phantom rule needs at least one report")
    if not ((values >= 0) & (values <= 1)).all():
        worst = values[~((values >= 0) & (values <= 1))][0]
        raise OptionError(f"{worst} is no report between 0 and 1; rescale what people choose from to that range")
    return float(np.median(np.concatenate([values, np.arange(values.size + 1) / values.size])))

"""Rows chosen by a number each: the easiest, those of least displacement, whatever was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pluralign.errors import FeedbackError
from pluralign.feedback.recipes._rows import Array

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback


def selective_dpo(feedback: Feedback, values: Array, *, keep: float = 0.5, ordered: bool = True) -> Feedback:
    """The share `keep` of rows whose values [N] are lowest; ordered: lowest first, else in the order they had.

    With `pluralign.evaluate.difficulty` as values: pairs too hard for a model of this size are left out, and training
    in the order given (`train_sampling_strategy="sequential"`) goes from easy to hard. With `pluralign.evaluate.ches`
    as values: pairs that would make the preferred response less likely are left out. Rows without a number go.

    Use it where some labels are wrong, or above the model.
    Source: Gao et al. 2025, Principled Data Selection for Alignment: The Hidden Risks of Difficult Examples (arXiv
    2502.09650); Razin et al. 2024, Unintentional Unalignment (arXiv 2410.08847).

    >>> import pluralign
    >>> rows = pluralign.read([{"prompt": f"{i}?", "chosen": "a", "rejected": "b"} for i in range(4)])
    >>> [j.prompt[0].content for j in selective_dpo(rows, np.array([3.0, 1.0, 0.5, 9.0]))]
    ['2?', '1?']
    """
    values = np.asarray(values, dtype=float)
    if values.shape != (len(feedback),):
        raise FeedbackError(f"values has shape {values.shape}, and there are {len(feedback):,} rows; give one a row")
    if not 0 < keep <= 1:
        raise FeedbackError(f"keep is {keep}; it is a share above 0, at most 1")
    known = int(np.isfinite(values).sum())
    order = np.argsort(np.where(np.isfinite(values), values, np.inf), kind="stable")[: round(keep * known)]
    chosen = order if ordered else np.sort(order)
    step = {"recipe": "selective_dpo", "keep": keep, "rows_in": len(feedback), "rows_out": len(chosen)}
    step |= {"unknown": len(feedback) - known, "bound": float(values[order[-1]]) if len(order) else None}
    table = feedback.table.take(pa.array(chosen))
    return type(feedback)(table, report=feedback.report, history=[*feedback.history, step])

"""What is in a feedback file and what is wrong with it.

Each check is a function from `Cells` (and what it needs besides) to findings; `audit` calls them in the order in
which the page shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from pluralign.feedback.audit import (
    annotators,
    consistency,
    contamination,
    duplicates,
    graph,
    noise,
    splits,
    style,
    text,
)
from pluralign.feedback.audit.agreement import ceiling, cohen, fleiss, krippendorff
from pluralign.feedback.audit.cells import Cells, cells
from pluralign.feedback.audit.finding import SEVERITIES, Detail, Finding
from pluralign.feedback.audit.result import Audit
from pluralign.feedback.audit.sizes import sizes

__all__ = ["Audit", "Detail", "Finding", "audit", "ceiling", "cohen", "fleiss", "krippendorff"]


def audit(
    table: pa.Table,
    *,
    max_length: int | None = None,
    tokenize: text.Tokenize | None = None,
    unit: str | None = None,
    against: Mapping[str, pa.Table] | None = None,
    label_noise: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Audit:
    """Look a table of `record.SCHEMA` over. Rows of several sources may be put together; they are then compared.

    max_length: report what this limit on prompt plus response would cut. tokenize: texts -> token ids, the unit of
    lengths; left out, lengths are counted in words between blanks, and the result says so. unit: what to call the
    unit. against: other files (name -> table), benchmarks above all, whose prompts the rows should not hold.
    label_noise: fit a model to the words, and doubt the preferences that it finds unlikely. progress: called with the
    name of each step.

    >>> from pluralign.feedback.record import SCHEMA, Judgement, Response, text, to_batch
    >>> rows = [Judgement(text("2+2?"), (Response(text("4")), Response(text("4"))), ranks=(1, 2), id="a")]
    >>> report = audit(pa.Table.from_batches([to_batch(rows)]))
    >>> [f.name for f in report.findings if f.severity == "error"]
    ['equal-responses']
    """
    progress("laying out")
    laid = cells(table)
    progress("near-duplicate prompts")
    prompt = duplicates.near_labels(laid.prompts, (laid.prompts != "").to_numpy())
    progress("near-duplicate responses")
    reply = duplicates.near_labels(laid.responses, laid.has_text & (laid.responses != "").to_numpy())
    progress("contents and lengths")
    found = consistency.ties(laid)
    found += text.contents(laid)
    long, lengths = text.lengths(
        laid, max_length, tokenize, unit or ("tokens" if tokenize else "words (no tokenizer given)")
    )
    found += long
    progress("duplicates")
    found += consistency.both_sides_equal(laid)
    found += duplicates.prompts(laid, *prompt)
    found += duplicates.responses(laid, *reply)
    found += duplicates.pairs(laid, prompt[:2], reply[:2])
    found += splits.shared_prompts(laid, *prompt[:2])
    if against:
        progress("other files")
        found += contamination.contaminated(laid, against)
    progress("style")
    found += style.style(laid, style.features(laid.responses))
    found += style.first_shown(laid)
    progress("consistency")
    keyed = consistency.keyed_pairs(laid)
    found += consistency.contradictions(keyed)
    found += consistency.cycles(keyed)
    found += consistency.ratings_against_choices(laid)
    if label_noise:
        progress("label noise")
        found += noise.suspects(laid)
    progress("annotators")
    found += annotators.agreement(laid, keyed)
    found += annotators.always_alike(laid)
    progress("comparison graph")
    found += graph.connectivity(laid)
    found += splits.relabelled(laid)
    order = {severity: i for i, severity in enumerate(SEVERITIES)}
    found.sort(key=lambda f: order[f.severity])
    counts = sizes(laid, _distinct(prompt[0]), _distinct(reply[0]))
    return Audit(tuple(found), counts, lengths, table, laid.prompts, laid.responses, _starts(laid))


def _distinct(labels: duplicates.Labels) -> int:
    return len(np.unique(labels[labels >= 0]))


def _starts(laid: Cells) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    k = laid.rows["k"].to_numpy().astype(np.int64)
    starts: np.ndarray[tuple[int], np.dtype[np.int64]] = np.cumsum(k) - k
    return starts

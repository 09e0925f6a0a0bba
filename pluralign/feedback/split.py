"""Train and test parts that share no group, stable under a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pluralign.errors import FeedbackError
from pluralign.feedback.convert import prompt_key
from pluralign.feedback.record import SCHEMA, Judgement, Response, plain

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback

Key = str | Callable[[Judgement], Any]
"""What a group is: "prompt", "annotator", "item", "time", a column of the record, "meta.NAME", or a function."""


def split(feedback: Feedback, test: float, *, by: Key, seed: int) -> tuple[Feedback, Feedback]:
    """Train and test parts of the feedback. Rows of one group are never on both sides.

    A group goes to the test part when the seeded hash of its key falls below `test`, so its side does not change
    when rows are added, removed or reordered; sizes are then near `test`, not equal to it. by="item": no response is
    on both sides (groups are the connected components of rows that share a response). by="time": the latest part is
    the test part. Raises `FeedbackError` if a part would be empty.
    """
    if not 0 < test < 1:
        raise FeedbackError(f"test: {test} is not a share between 0 and 1")
    mask = _latest(feedback, test) if by == "time" else _hashed(_keys(feedback, by), test, seed)
    name = by if isinstance(by, str) else getattr(by, "__name__", "function")
    if mask.all() or not mask.any():
        side = "test" if not mask.any() else "train"
        raise FeedbackError(
            f"splitting by {name} with test={test}, seed={seed} leaves no {side} rows; "
            "there are too few groups, so try another seed, share or key"
        )
    parts = []
    for part, rows in (("train", ~mask), ("test", mask)):
        step = {
            "split": part,
            "by": name,
            "test": test,
            "seed": seed,
            "rows_in": len(feedback),
            "rows_out": int(rows.sum()),
        }
        half = feedback.where(rows)
        parts.append(type(half)(half.table, report=half.report, history=[*half.history, step]))
    return parts[0], parts[1]


def _keys(feedback: Feedback, by: Key) -> list[str]:
    if callable(by):
        return [str(by(j)) for j in feedback]
    if by == "prompt":
        return [prompt_key(j) for j in feedback]
    if by == "item":
        return _components(feedback)
    if by.startswith("meta."):
        return _known([j.meta.get(by[5:]) for j in feedback], by)
    if by not in SCHEMA.names:
        raise FeedbackError(
            f"cannot split by '{by}'; use prompt, annotator, item, time, a column of the record or meta.NAME"
        )
    return _known(feedback.table[by].to_pylist(), by)


def _known(values: Sequence[Any], by: str) -> list[str]:
    missing = sum(v is None for v in values)
    if missing:
        raise FeedbackError(
            f"cannot split by '{by}': {missing} of {len(values)} rows do not say it; fill it in or drop them"
        )
    return [str(v) for v in values]


def _item(r: Response) -> str:
    return r.id or (plain(r.messages) if r.messages else "") or r.model or ""


def _components(feedback: Feedback) -> list[str]:
    """For each row, the smallest item of its connected component: a name that does not depend on row order."""
    number: dict[str, int] = {}
    rows, items, first = [], [], []
    for i, j in enumerate(feedback):
        mine = [number.setdefault(_item(r), len(number)) for r in j.responses]
        first.append(mine[0] if mine else -1)
        rows += [i] * len(mine)
        items += mine
    n, k = len(first), len(number)
    graph = coo_array((np.ones(len(rows)), (rows, np.asarray(items, dtype=int) + n)), shape=(n + k, n + k))
    count, label = connected_components(graph, directed=False)
    if count == 1:
        raise FeedbackError(
            "cannot split by item: every response is connected to every other through some chain of comparisons; "
            "split by prompt or annotator, or drop rows that join the parts"
        )
    smallest: dict[int, str] = {}
    for name, i in number.items():
        component = int(label[n + i])
        smallest[component] = min(name, smallest.get(component, name))
    return [smallest.get(int(label[i]), "") for i in range(n)]


def _hashed(keys: list[str], test: float, seed: int) -> Any:
    draws = {key: hashlib.blake2b(f"{seed}\x1f{key}".encode(), digest_size=8).digest() for key in set(keys)}
    below = {key: int.from_bytes(draw) / 2**64 < test for key, draw in draws.items()}
    return np.array([below[key] for key in keys], dtype=bool)


def _latest(feedback: Feedback, test: float) -> Any:
    times = np.asarray(feedback.table["time"].to_numpy(), dtype="datetime64[us]")
    if np.isnat(times).any():
        missing = int(np.isnat(times).sum())
        raise FeedbackError(
            f"cannot split by time: {missing} of {len(times)} rows have none; drop them or split by prompt"
        )
    # Rows of one moment stay together, so the cut is a time and not a row.
    cut = np.sort(times)[int(len(times) * (1 - test))]
    return times >= cut

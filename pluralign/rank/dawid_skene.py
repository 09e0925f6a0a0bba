"""Dawid and Skene: what is true of each task, from the labels of people who err each in their own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import logsumexp

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank.names import places
from pluralign.rank.newton import NotConverged
from pluralign.rank.votes import TIE, Votes, encoded

Array = NDArray[np.float64]

ROUNDS = 10_000
GAIN = 1e-9
"""Nats a label; a round that gains less is the last."""
COLUMNS = ("task", "annotator", "label")


class DawidSkene:
    """Every annotator u says l where c is true with a chance of their own, errors_[u, c, l].

    errors: "matrix" (any confusion of classes), or "coin" (right with one chance, else any other class alike). smooth:
    virtual labels of every kind for each annotator and class, so that no chance is zero.

    After `fit`: `classes_`; `tasks_` (of votes: both items' names); `annotators_`; `posterior_` [T, C], the chance of
    each class; `labels_` [T], the likeliest; `prior_` [C]; `errors_` [U, C, C]; `nll_` in nats; `history_`, the
    penalised log-likelihood round by round, never falling.

    Dawid and Skene 1979. Votes between items are tasks of which either item or neither is the better; an annotator's
    errors are then the same whichever way round the two are shown. Raises `FeedbackError` for tables that are not
    labels, `NotConverged` rather than returning the last step.

    >>> labels = {"task": [1, 1, 1, 2, 2, 2], "worker": ["a", "b", "c"] * 2, "label": ["x", "x", "y", "y", "y", "y"]}
    >>> DawidSkene().fit(labels).labels_
    ['x', 'y']
    """

    def __init__(self, *, errors: Literal["matrix", "coin"] = "matrix", smooth: float = 0.01) -> None:
        self.errors, self.smooth = errors, smooth

    def fit(self, data: Any, gold: Mapping[Any, str] | None = None) -> DawidSkene:
        """Fit to a table of task, annotator (or worker) and label, one row a label, or to votes of known annotators.

        gold: tasks whose class is known.
        """
        if self.errors not in ("matrix", "coin") or self.smooth < 0:
            raise OptionError("errors are 'matrix' or 'coin', and smooth is zero or more")
        self.tasks_: list[Any]
        self._swap: NDArray[np.intp] | None = None
        task, who, said = self._coded(data)
        t, u, c = len(self.tasks_), len(self.annotators_), len(self.classes_)
        if c < 2:
            raise FeedbackError(f"every label is '{self.classes_[0]}', so there is nothing to tell apart")
        known = self._gold(gold or {})
        place = (task * u + who) * c + said
        cells, count = np.unique(place, return_counts=True)
        labels = _Labels(cells // (u * c), cells // c % u, cells % c, count.astype(np.float64), (t, u, c))
        shares = np.bincount(task * c + said, minlength=t * c).reshape(t, c).astype(np.float64)
        posterior = _pinned(shares / shares.sum(1, keepdims=True), known)
        history: list[float] = []
        for _ in range(ROUNDS):
            prior, errors = self._maximised(labels, posterior)
            log = np.log(prior) + labels.evidence(np.log(errors))
            if known is not None:
                log = np.where(known, log, -np.inf)
            total = logsumexp(log, axis=1)
            history.append(float(total.sum()) + self._log_prior(prior, errors))
            posterior = np.exp(log - total[:, None])
            if len(history) > 1 and history[-1] - history[-2] <= GAIN * len(task):
                break
        else:
            raise NotConverged(f"after {ROUNDS:,} rounds the likelihood of the labels still rises")
        self.prior_, self.errors_, self.posterior_ = prior, errors, posterior
        self.nll_, self.history_ = -float(total.sum()), np.array(history)
        self.labels_ = [self.classes_[k] for k in posterior.argmax(1)]
        return self

    def _coded(self, data: Any) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        if isinstance(data, Votes):
            return self._of_votes(data)
        frame = pl.DataFrame(data)
        if "annotator" not in frame.columns and "worker" in frame.columns:
            frame = frame.rename({"worker": "annotator"})
        missing = [name for name in COLUMNS if name not in frame.columns]
        if missing:
            raise FeedbackError(
                f"labels have the columns task, annotator and label, and this table lacks {missing[0]}; it has "
                f"{', '.join(frame.columns)}"
            )
        if not len(frame):
            raise FeedbackError("this table holds no labels")
        empty = frame.select(pl.any_horizontal(pl.col(COLUMNS).is_null())).to_series()
        if empty.any():
            raise FeedbackError(f"row {int(empty.arg_max() or 0) + 1} lacks a task, an annotator or a label")
        names, codes = zip(*(encoded(frame[name].cast(pl.String)) for name in COLUMNS), strict=True)
        self.tasks_, self.annotators_, self.classes_ = names
        return codes[0].astype(np.intp), codes[1].astype(np.intp), codes[2].astype(np.intp)

    def _of_votes(self, votes: Votes) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Tasks are pairs of items, of one prompt where that is known; classes: the earlier name, the later, a tie."""
        if votes.annotator is None or (votes.annotator < 0).any():
            raise FeedbackError("labels of people need to know who gave each; fill in the column annotator")
        n = len(votes.items)
        low, high = np.minimum(votes.left, votes.right).astype(np.int64), np.maximum(votes.left, votes.right)
        prompt = np.zeros(len(votes), dtype=np.int64) if votes.prompt is None else votes.prompt.astype(np.int64) + 1
        keys, task = np.unique((prompt * n + low) * n + high, return_inverse=True)
        first, second = (keys // n) % n, keys % n
        self.tasks_ = [(votes.items[a], votes.items[b]) for a, b in zip(first, second, strict=True)]
        used, who = np.unique(votes.annotator, return_inverse=True)
        self.annotators_ = [str(votes.annotators[k]) if len(votes.annotators) else str(k) for k in used]
        said = np.minimum(votes.outcome, TIE).astype(np.intp)
        said = np.where((votes.left > votes.right) & (said < TIE), 1 - said, said)
        self.classes_ = ["first", "second", "tie"][: int(said.max()) + 1 if said.max() > 1 else 2]
        self._swap = np.array([1, 0, 2])[: len(self.classes_)]
        return task, who, said

    def _gold(self, gold: Mapping[Any, str]) -> NDArray[np.bool_] | None:
        if not gold:
            return None
        if self._swap is not None:
            raise OptionError("gold is for tables of task, annotator and label")
        known = np.ones((len(self.tasks_), len(self.classes_)), dtype=bool)
        rows = places([str(task) for task in self.tasks_], [str(task) for task in gold], "tasks with labels")
        truth = places(self.classes_, [str(label) for label in gold.values()], "classes")
        known[rows] = False
        known[rows, truth] = True
        return known

    def _maximised(self, labels: _Labels, posterior: Array) -> tuple[Array, Array]:
        prior = posterior.sum(0) + self.smooth
        counts = labels.expected(posterior) + self.smooth
        if self._swap is not None:
            # Which of two items has the earlier name says nothing about either.
            prior = prior + prior[self._swap]
            counts = counts + counts[:, self._swap][:, :, self._swap]
        if self.errors == "coin":
            counts = _coined(counts)
        with np.errstate(invalid="ignore"):
            errors = counts / counts.sum(2, keepdims=True)
        errors = np.where(np.isnan(errors), 1 / len(prior), errors)
        return prior / prior.sum(), np.maximum(errors, 1e-300)

    def _log_prior(self, prior: Array, errors: Array) -> float:
        return self.smooth * float(np.log(np.maximum(prior, 1e-300)).sum() + np.log(errors).sum())


class _Labels:
    """Counts [m] of labels by task, annotator and class."""

    def __init__(
        self,
        task: NDArray[np.intp],
        who: NDArray[np.intp],
        said: NDArray[np.intp],
        count: Array,
        shape: tuple[int, int, int],
    ) -> None:
        self.task, self.who, self.said, self.count = task, who, said, count
        self.tasks, self.people, self.classes = shape

    def expected(self, posterior: Array) -> Array:
        """[U, C, C] labels of each annotator by true class and class said."""
        out = np.empty((self.people, self.classes, self.classes))
        place = self.who * self.classes + self.said
        for c in range(self.classes):
            found = np.bincount(place, self.count * posterior[self.task, c], self.people * self.classes)
            out[:, c] = found.reshape(self.people, self.classes)
        return out

    def evidence(self, log_errors: Array) -> Array:
        """[T, C] log-likelihood of each task's labels, were this class true."""
        out = np.empty((self.tasks, self.classes))
        for c in range(self.classes):
            out[:, c] = np.bincount(self.task, self.count * log_errors[self.who, c, self.said], self.tasks)
        return out


def _coined(counts: Array) -> Array:
    """[U, C, C] the same share of right labels for every class, the rest spread over the others."""
    c = counts.shape[1]
    right = np.einsum("ucc->u", counts) / counts.sum((1, 2))
    wrong = (1 - right) / (c - 1)
    return np.asarray(wrong[:, None, None] + np.eye(c) * (right - wrong)[:, None, None])


def _pinned(posterior: Array, known: NDArray[np.bool_] | None) -> Array:
    if known is None:
        return posterior
    kept = posterior * known
    total = kept.sum(1, keepdims=True)
    return np.where(total > 0, kept / np.where(total > 0, total, 1), known / known.sum(1, keepdims=True))

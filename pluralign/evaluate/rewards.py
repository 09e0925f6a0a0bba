"""A reward or preference model on held-out pairs: one crowd's, or everybody's own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.optimize import minimize_scalar

from pluralign.errors import FeedbackError, OptionError
from pluralign.evaluate.evaluation import Evaluation, _check, _codes, _examples, _first_shown, _ordered, _value
from pluralign.evaluate.figures import Array, Clusters, calibration, difference, histogram, mean, preferred, share
from pluralign.evaluate.measures import FIRST, LAYOUT, LONGER, SHORTER
from pluralign.evaluate.measures import OWN_REWARD as REWARD
from pluralign.evaluate.rewardbench import SECTIONS, rewardbench
from pluralign.evaluate.slices import SIDES, longer_sides, quarters, sliced
from pluralign.feedback import Feedback, Judgement, read
from pluralign.feedback.convert import prompt_key
from pluralign.feedback.record import plain
from pluralign.feedback.storage import whole_file
from pluralign.progress import bar
from pluralign.train.data import sides

CROWD = "reward of the mean person"
Reward = Callable[[str, Sequence[str]], Any]
"""(prompt, responses [n]) -> rewards [n]."""


@dataclass(frozen=True)
class Margins:
    """N pairs by several rewards, the preferred response first.

    margins: by name, preferred less other, [N]. characters: [N, 2]. shown: +1 where the preferred response was shown
    first, -1 where last, 0 where that is not known, [N]. clusters: [N].
    """

    margins: Mapping[str, Array]
    characters: Array
    shown: Array
    clusters: Clusters

    def __len__(self) -> int:
        return len(self.shown)

    def part(self, inside: Any) -> Margins:
        """Some of the pairs."""
        some = {name: getattr(self, name)[inside] for name in ("characters", "shown", "clusters")}
        return replace(self, margins={name: values[inside] for name, values in self.margins.items()}, **some)

    @property
    def bands(self) -> dict[str, list[str]]:
        """What to divide pairs by besides their columns [N]: characters of the longest, and the longer side."""
        return {"length": quarters(self.characters.max(1)), SIDES: longer_sides(self.characters)}

    @property
    def mixed(self) -> bool:
        """Whether there is something to rank."""
        return True

    def measure(self, seed: int = 0) -> dict[str, Any]:
        """Accuracy of every reward and of length and place alone, differences to the first reward, and its calibration.

        strict: equal rewards count as wrong (RewardBench). temperature: by which margins are divided to predict best.
        longer, first: how often people, and the reward, prefer the longer of two, and the one that was shown first.
        """
        lead = np.sign(self.characters[:, 0] - self.characters[:, 1])
        known, first = np.ones(len(self), dtype=bool), next(iter(self.margins))
        rankings = {name: (values, known) for name, values in self.margins.items()}
        rankings |= {LONGER: (lead, known), SHORTER: (-lead, known)}
        if (self.shown != 0).any():
            rankings[FIRST] = self.shown, self.shown != 0
        right, clusters = {name: preferred(m) for name, (m, _) in rankings.items()}, self.clusters
        margin = self.margins[first]
        found: dict[str, Any] = {
            "accuracy": {name: share(right[name][at], clusters[at]).as_dict() for name, (_, at) in rankings.items()},
            "strict": share((margin > 0).astype(float), clusters).as_dict(),
            "difference": {
                f"{first} - {name}": difference(right[first][at], right[name][at], clusters[at], seed)
                for name, (_, at) in rankings.items()
                if name != first
            },
            "margins": {**histogram(margin), "mean": mean(margin, clusters, seed).as_dict()},
            "calibration": {**calibration(margin, clusters, seed=seed), "temperature": temperature(margin)},
        }
        for name, side in (("longer", lead), ("first", self.shown)):
            known = side != 0
            both = {"people": side, "reward": side * margin} if known.any() else {}
            found[name] = {
                whose: share(preferred(values[known]), clusters[known]).as_dict() for whose, values in both.items()
            }
        return found


def temperature(margins: Array) -> float | None:
    """T of sigmoid(margin / T) with the lowest log-loss; None where it is zero or infinite.

    >>> draws = np.random.default_rng(0).logistic(size=20000)
    >>> x = np.linspace(-3, 3, 20000)
    >>> round(temperature(2 * np.abs(x) * np.sign(x) * np.sign(x - draws)), 1)  # margins twice too large
    2.0
    """
    # Without a mistake the best T is zero, and with no better sides than worse ones there is none.
    if margins.mean() <= 0 or (margins >= 0).all():
        return None
    scale = float(np.abs(margins).mean())
    found = minimize_scalar(lambda t: float(np.logaddexp(0, -np.exp(t) * margins / scale).mean()))
    return float(scale / np.exp(found.x))


def evaluate_reward(
    reward: Any,
    data: Any,
    *,
    name: str = "data",
    out: str | Path | None = None,
    cluster: str | Callable[[Judgement], Any] = "prompt",
    slices: Sequence[str] = (),
    against: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Measure a reward on held-out pairs, with intervals, paired tests, slices, the worst part and the human ceiling.

    reward: a population that `pluralign.fit` made, which judges every pair with its annotator's own weights (those of
    the mean person are told beside it); another model of `pluralign.models` with `features`; a `TextReward`, which
    leaves out and counts the pairs that it cannot read; or a function (prompt, responses [n]) -> [n]. against: others
    to compare with on the same pairs, by name. out: folder to write evaluation/NAME.json to. cluster, slices: as of
    `evaluate`.

    Raises `OptionError` for a column that no row has, `FeedbackError` where no pair prefers one side.

    >>> rows = [{"prompt": str(i), "chosen": "a" * (i + 2), "rejected": "a"} for i in range(9)]
    >>> found = evaluate_reward(lambda prompt, responses: [len(r) for r in responses], rows)
    >>> found.figures["strict"]["value"], found.figures["difference"]["reward - shorter wins"]["ahead"]
    (1.0, 9)
    """
    given = data if isinstance(data, Feedback) else read(data)
    features = getattr(reward, "features", None)
    # Features in columns belong to the rows as they were read.
    whole = features is not None and features.column is not None
    feedback = given if whole else given.pairs(ties="drop", aspect=getattr(features, "aspect", None))
    rows = [j for j in feedback if _told(j)]
    if not rows:
        raise FeedbackError("no row prefers one of two responses; give pairs, rankings or ratings")
    for column in (cluster, *slices):
        _check(rows, column)
    part = Feedback.from_judgements(rows, report=feedback.report, history=feedback.history)
    margins = _margins(reward, part)
    for label, other in (against or {}).items():
        margins |= {label: _margins(other, part)[REWARD]}
    read_by_all = np.asarray(np.isfinite(np.stack(list(margins.values()))).all(axis=0))
    if not read_by_all.any():
        raise FeedbackError(f"none of the {len(rows):,} pairs can be read by this reward; give pairs of two texts")
    rows = [j for j, kept in zip(rows, read_by_all, strict=True) if kept]
    turned = np.array([1.0 if sides(j)[0] == 0 else -1.0 for j in rows])
    margins = {label: values[read_by_all] for label, values in margins.items()}
    clusters = _codes([_value(j, cluster) for j in rows])
    characters = np.array([[float(len(plain(r.messages))) for r in _ordered(j)] for j in rows])
    shown = np.array([float(_first_shown(j)) for j in rows])
    scored = Margins({label: values * turned for label, values in margins.items()}, characters, shown, clusters)
    cluster_by = cluster if isinstance(cluster, str) else getattr(cluster, "__name__", "function")
    columns = ("prompt", "criterion", "context", "source", "annotator", *slices)
    values_of = {c: [_value(j, c) for j in rows] for c in columns}
    divided = sliced(scored, values_of, cluster_by, seed)
    figures: dict[str, Any] = {
        "layout": LAYOUT,
        "name": name,
        "kind": "pairs",
        "n": len(scored),
        "clusters": len(np.unique(clusters)),
        "cluster_by": cluster_by,
        "data": {"fingerprint": given.fingerprint, "used": len(rows), "rows": len(given), **_lost(reward)},
        **scored.measure(seed),
        **divided,
        "worst": worst(divided["slices"]),
        "ceiling": ceiling(feedback, seed),
        "pairs": _examples(rows, scored.margins[REWARD], _drawn(rows, seed)),
        **_benched(scored.margins[REWARD], values_of),
    }
    path = Path(out or ".") / "evaluation" / f"{name}.json"
    if out is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path.with_suffix(".parquet")) as temporary:
            at = np.flatnonzero([_told(j) for j in feedback])[read_by_all]
            pl.DataFrame({"row": at, "cluster": clusters, **scored.margins}).write_parquet(temporary)
        with whole_file(path) as temporary:
            text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")
    return Evaluation(path, figures)


def _told(j: Judgement) -> bool:
    """Whether a pair prefers one side."""
    if len(j.responses) != 2:
        return False
    if j.ranks is not None:
        return None not in j.ranks and j.ranks[0] != j.ranks[1]
    return j.probability not in (None, 0.5) or bool(j.strength)


def _margins(reward: Any, feedback: Feedback) -> dict[str, Array]:
    """Of the first response over the second [n], NaN for a pair that a reward of texts cannot read."""
    from pluralign.train.text_reward import TextReward

    if isinstance(reward, TextReward):
        reward.model.to(torch.accelerator.current_accelerator(check_available=True) or "cpu")
        with bar("scoring held-out pairs", len(feedback)) as step:
            told, at = reward.margins(feedback, progress=step)
        margins = np.full(len(feedback), np.nan)
        margins[at] = told * np.array([1.0 if sides(j)[0] == 0 else -1.0 for j in feedback])[at]
        return {REWARD: margins}
    if hasattr(reward, "margins"):
        answers = reward.read(feedback)
        if len(answers) != len(feedback):
            raise FeedbackError(f"the model reads {len(answers):,} of {len(feedback):,} pairs; give pairs of two texts")
        found = {REWARD: reward.margins(answers)}
        if hasattr(reward, "weights_") and len(getattr(reward, "people_", ())) > 1:
            found[CROWD] = reward.margins(answers, reward.weights_.mean(0))
        return found
    if not callable(reward):
        raise OptionError("a reward is a fitted model or a function of a prompt and its responses")
    scores = np.array([np.asarray(reward(plain(j.prompt), _texts(j)), dtype=np.float64) for j in feedback])
    if scores.shape != (len(feedback), 2) or not np.isfinite(scores).all():
        raise OptionError("the reward must give one finite number for each response")
    return {REWARD: scores[:, 0] - scores[:, 1]}


def _lost(reward: Any) -> dict[str, Any]:
    """Rows that a reward of texts could not read, and what of them it cut, by reason."""
    from pluralign.train.text_reward import TextReward

    if not isinstance(reward, TextReward):
        return {"dropped": {}, "cut": {}}
    return {"dropped": dict(reward.left_out), "cut": dict(reward.encoder.counts)}


def _drawn(rows: Sequence[Judgement], seed: int) -> list[str]:
    """The rows' prompts in a random order: the first ones of a file are often of one kind."""
    return list(dict.fromkeys(prompt_key(rows[i]) for i in np.random.default_rng(seed).permutation(len(rows))))


def _benched(margins: Array, columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Sections and total of RewardBench where a column names its subsets."""
    known = {name for of in SECTIONS.values() for name in of}
    for values in columns.values():
        if {str(v) for v in values} <= known:
            bench = rewardbench(margins, np.zeros_like(margins), [str(v) for v in values])
            return {"rewardbench": {"table": bench.table.to_dicts(), "missing": list(bench.missing)}}
    return {}


def _texts(j: Judgement) -> list[str]:
    return [plain(r.messages) for r in j.responses]


def worst(slices: Sequence[Mapping[str, Any]], ranking: str = REWARD) -> dict[str, Any]:
    """By column, the part with the lowest accuracy among those that are not small: value, n and the figure.

    The lowest of many is low by chance too; its interval is that of a part chosen beforehand.
    """
    found: dict[str, Any] = {}
    for each in slices:
        figure = each["accuracy"][ranking]
        if not each["small"] and figure["value"] < found.get(each["by"], {"value": 2.0})["value"]:
            found[each["by"]] = {"part": each["value"], **figure}
    return found


def ceiling(data: Any, seed: int = 0) -> dict[str, Any]:
    """How often people agree on the same pair: what a reward can be expected to reach at most.

    majority: the expected agreement of a random annotator with the majority of all, themselves included. others: with
    the majority of the others alone, which is what a model has to foretell of somebody unseen. A level majority counts
    one half. Over pairs judged by two or more; empty where there are none.
    """
    feedback = data if isinstance(data, Feedback) else read(data)
    votes: dict[Any, list[float]] = defaultdict(list)
    for j in feedback.pairs(ties="drop"):
        if _told(j):
            ends = sorted((plain(r.messages) or r.id or r.model or "", r.model or "") for r in j.responses)
            first = _ordered(j)[0]
            of_first = (plain(first.messages) or first.id or first.model or "", first.model or "") == ends[0]
            votes[(prompt_key(j), *ends)].append(1.0 if of_first else -1.0)
    several = [np.array(v) for v in votes.values() if len(v) > 1]
    if not several:
        return {}
    items = np.concatenate([np.full(len(v), i) for i, v in enumerate(several)])
    whole = np.concatenate([preferred(v * v.sum()) for v in several])
    others = np.concatenate([preferred(v * (v.sum() - v)) for v in several])
    return {
        "pairs": len(several),
        "majority": mean(whole, items, seed).as_dict(),
        "others": mean(others, items, seed).as_dict(),
    }

"""`fit`: feedback in, whose preferences it holds out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign.errors import FeedbackError, OptionError
from pluralign.intervals import clustered_t
from pluralign.models.answers import Answers
from pluralign.models.choosing import fewest
from pluralign.models.features import CACHE, Encoder, Features
from pluralign.models.kinds import KINDS, MOST, READ_PROMPTS, build
from pluralign.models.population import Population

FITTED = 0.7
"""Share of each person's answers that is fitted; of the rest, every other one chooses K or measures the gain."""


@dataclass(frozen=True)
class Plurality:
    """How plural the answers are, on answers that neither fitted the models nor chose K.

    groups: the K tried. chosen: the fewest within one standard error of the lowest loss on
    the answers kept for choosing. choosing, measuring:
    [len(groups)] mean held-out log-loss, nats an answer, on those and on the rest. gain: loss of one group less loss of
    `against` groups (the best K above one); low, high: its interval with people as the units. null: the same gain
    after the names were dealt anew among the answers, once each; p: the share of these, and of the gain itself, that
    are as large.
    """

    groups: list[int]
    chosen: int
    choosing: list[float]
    measuring: list[float]
    against: int | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    null: list[float] | None = None
    p: float | None = None

    def __str__(self) -> str:
        lines = [
            f"{k} groups: held-out log-loss {loss:.4f}" for k, loss in zip(self.groups, self.choosing, strict=True)
        ]
        if self.gain is not None:
            of = f"gain of {self.against} groups over 1: {self.gain:.4f} nats an answer"
            of += "" if self.low is None else f" ({self.low:.4f} to {self.high:.4f})"
            if self.null:
                of += f"; with names dealt anew {min(self.null):.4f} to {max(self.null):.4f}, p = {self.p:.3f}"
            lines.append(of)
        return "\n".join([*lines, f"chosen: {self.chosen}"])


def fit(
    feedback: Any,
    population: str = "ideal-point",
    groups: int | Sequence[int] = 2,
    encoder: Encoder | Features | str = "features",
    *,
    aspect: str | None = None,
    null: int = 19,
    cache: str | Path | None = CACHE,
    **options: Any,
) -> Population:
    """Learn what people prefer: whose preference each answer is, and what those preferences are.

    feedback: whatever `pluralign.read` takes, or `Answers`. population: one of those below. groups: K, or several to
    choose from, by the log-loss of answers held out of every person's. encoder, aspect, cache: see `Features`.
    null: how often names are dealt anew among the answers to see what gain chance would give; 0 for never. options: of
    the population.

    - "ideal-point": `PreferenceModel` of `IdealPoint` (PAL-A), by default with a linear projector to at most 16
      dimensions and squared distances, with which new people are localised exactly;
    - "two-tower": of `TwoTower` (PAL-B), which reads prompts and responses apart;
    - "low-rank": of `LowRank` (LoRe);
    - "mixture": `MixtureModel`, by EM (MaxMin with `hard=True`);
    - "routed": `RoutedMixture` (MiCRo), which reads prompts and responses apart;
    - "variational" and "few-shot": `Variational` (VPL) and `FewShot` (FSPO), whose people have K - 1 numbers of their
      own, as they have on K prototypes, so that one group is one crowd;
    - "hierarchical": `Hierarchical`, and "attribute-attention": `AttributeAttention` (PrefPalette; `attributes`: how
      many of the last features are attributes), which know no groups: 1 is one crowd, any other number everybody apart;
    - "multi-objective": `MultiSource` (MORE), one crowd whatever `groups` says.

    The model is fitted to all answers once K is known. `plurality_` says what was measured on the way; it is None for
    one K = 1, or where nobody answered often enough to hold anything out.

    Raises `OptionError` and `FeedbackError`.

    >>> pairs = [("long" * n, "s" * n) for n in range(1, 11)]
    >>> rows = [{"prompt": "", "chosen": c, "rejected": r, "annotator": "ada"} for c, r in pairs]
    >>> rows += [{"prompt": "", "chosen": r, "rejected": c, "annotator": "ben"} for c, r in pairs]
    >>> model = fit(rows, "low-rank", [1, 2], lambda texts: [[t.count("s")] for t in texts], null=0, lr=0.1)
    >>> model.plurality_.chosen, int(model.score("", ["long", "ss"], "ben").argmax())
    (2, 1)
    """
    if population not in KINDS:
        raise OptionError(f"population {population!r} is not one of {', '.join(KINDS)}")
    tried = sorted({groups} if isinstance(groups, int) else {int(k) for k in groups})
    if not tried or tried[0] < 1:
        raise OptionError("groups is a number from 1 on, or several, such as range(1, 5)")
    tried = sorted({min(k, MOST.get(population, k)) for k in tried})
    if isinstance(feedback, Answers):
        features, answers = None, feedback
    else:
        if isinstance(encoder, Features):
            features = encoder
        else:
            features = Features(encoder, apart=population in READ_PROMPTS, aspect=aspect, cache=cache)
        answers = features.answers(feedback)
    if tried != [1] and len(answers.people) == 1:
        raise FeedbackError(
            f"all answers are those of one person, {answers.people[0]}, who has one taste; name the column that says "
            "who answered (--columns annotator=...), or give groups 1"
        )
    plurality = None if tried == [1] else _plurality(answers, population, tried, null, options)
    model = build(answers, population, tried[0] if plurality is None else plurality.chosen, options).fit(answers)
    model.features, model.plurality_ = features, plurality
    return model


def _plurality(
    answers: Answers, population: str, tried: list[int], null: int, options: dict[str, Any]
) -> Plurality | None:
    seed = int(options.get("seed", 0))
    part = _parts(answers, seed)
    if not (part == 1).any() or not (part == 2).any():
        if len(tried) > 1:
            raise FeedbackError(
                "too few people judged several pairs, so that no answers can be held out to choose groups; give one K"
            )
        return None
    with_one = sorted({1, *tried})

    def losses(k: int, rows: Answers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        model = build(rows, population, k, options).fit(rows.take(np.flatnonzero(part == 0)))
        choose, measure = (model.log_losses(rows.take(np.flatnonzero(part == which))) for which in (1, 2))
        return choose, measure

    found = {k: losses(k, answers) for k in with_one}
    weights = [answers.weight.numpy()[part == which] for which in (1, 2)]

    def mean(k: int, which: int) -> float:
        return float(np.average(found[k][which], weights=weights[which]))

    chosen = fewest({k: found[k][0] * weights[0] / weights[0].mean() for k in tried}, answers.person.numpy()[part == 1])
    against = min((k for k in tried if k > 1), key=lambda k: mean(k, 0))
    # Weighted so that the plain mean of these is the weighted mean gain.
    each = (found[1][1] - found[against][1]) * weights[1] / weights[1].mean()
    gain, who = float(each.mean()), answers.person.numpy()[part == 2]
    low, high = clustered_t(each, who) if len(np.unique(who)) > 1 else (None, None)
    random, dealt = np.random.default_rng(seed), []
    for _ in range(null):
        person = answers.person.numpy().copy()
        for which in range(3):
            person[part == which] = random.permutation(person[part == which])
        other = losses(against, replace(answers, person=torch.as_tensor(person)))[1]
        dealt.append(float(np.average(found[1][1] - other, weights=weights[1])))
    return Plurality(
        with_one,
        chosen,
        [mean(k, 0) for k in with_one],
        [mean(k, 1) for k in with_one],
        against,
        gain,
        low,
        high,
        dealt or None,
        (1 + sum(g >= gain for g in dealt)) / (1 + null) if null else None,
    )


def _parts(answers: Answers, seed: int) -> NDArray[np.int64]:
    """[n]: 0 fits, 1 chooses, 2 measures; the same share of everybody's, and what one said of one pair together."""
    ends = np.sort(np.stack([answers.left.numpy(), answers.right.numpy()]), 0)
    _, judged = np.unique(np.stack([answers.person.numpy(), *ends]), axis=1, return_inverse=True)
    judged = judged.ravel()
    _, first = np.unique(judged, return_index=True)
    person = answers.person.numpy()[first]
    random = np.random.default_rng(seed)
    order = np.lexsort([random.random(len(first)), person])
    counts = np.bincount(person)
    start = np.cumsum(counts) - counts
    place = np.empty(len(first), dtype=np.int64)
    place[order] = np.arange(len(first)) - start[person[order]]
    held_out = (place + 0.5) / counts[person] > FITTED
    # Turn about, whoever begins: those who said little are among those who choose as often as among those who measure.
    begins = random.integers(2, size=len(counts))
    part = np.where(held_out & (counts[person] > 1), 1 + (place + begins[person]) % 2, 0)
    return np.asarray(part[judged])

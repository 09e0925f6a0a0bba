"""Dawid and Skene find who is right about what, never lose likelihood, and take votes either way round."""

import numpy as np
import pytest

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import Votes
from pluralign.rank.dawid_skene import DawidSkene
from tests.rank.golden import g1
from tests.rank.test_crowd import poll

SKILL = np.array([0.9, 0.9, 0.6, 0.6, 0.1])


def judged(skill, tasks, seed, classes="xy"):
    rng = np.random.default_rng(seed)
    truth = rng.integers(len(classes), size=tasks)
    rows = []
    for t in range(tasks):
        for u, right in enumerate(skill):
            other = [c for c in range(len(classes)) if c != truth[t]]
            said = truth[t] if rng.random() < right else rng.choice(other)
            rows.append((f"t{t:04d}", f"p{u}", classes[said]))
    names = ("task", "annotator", "label")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), [classes[c] for c in truth]


def majority(table):
    counts = {}
    for task, label in zip(table["task"], table["label"], strict=True):
        counts.setdefault(task, []).append(label)
    return [max(sorted(set(said)), key=said.count) for _, said in sorted(counts.items())]


@pytest.mark.parametrize("errors", ["matrix", "coin"])
@pytest.mark.parametrize("seed", range(3))
def test_labels_are_better_than_the_majoritys(errors, seed):
    table, truth = judged(SKILL, 300, seed)
    model = DawidSkene(errors=errors).fit(table)
    ours = np.mean([a == b for a, b in zip(model.labels_, truth, strict=True)])
    votes = np.mean([a == b for a, b in zip(majority(table), truth, strict=True)])
    assert ours > votes + 0.02
    right = np.einsum("ucc->uc", model.errors_)
    assert (right[4] < 0.3).all()
    assert right.mean(1) == pytest.approx(SKILL, abs=0.1)
    assert (np.diff(model.history_) >= -1e-9).all()


def test_evidence_is_the_likelihood_of_the_labels():
    table, _ = judged(SKILL, 20, 7, classes="xyz")
    model = DawidSkene().fit(table)
    total = 0.0
    for task in model.tasks_:
        p = model.prior_.copy()
        for name, who, said in zip(table["task"], table["annotator"], table["label"], strict=True):
            if name == task:
                p *= model.errors_[model.annotators_.index(who), :, model.classes_.index(said)]
        assert model.posterior_[model.tasks_.index(task)] == pytest.approx(p / p.sum(), abs=1e-9)
        total -= np.log(p.sum())
    assert model.nll_ == pytest.approx(total)
    assert model.errors_.sum(2) == pytest.approx(np.ones((5, 3)))
    assert model.prior_.sum() == pytest.approx(1)


def test_gold_tasks_stay_what_they_are():
    # Three of five always lie; without gold they are the majority, and believed.
    table, truth = judged([0.95, 0.95, 0.1, 0.1, 0.1], 300, 3)
    blind = DawidSkene().fit(table)
    gold = {f"t{t:04d}": truth[t] for t in range(30)}
    seeing = DawidSkene().fit(table, gold)
    assert seeing.labels_[:30] == truth[:30]
    accuracy = [np.mean([a == b for a, b in zip(m.labels_, truth, strict=True)]) for m in (blind, seeing)]
    assert accuracy[0] < 0.1
    assert accuracy[1] > 0.9


def test_votes_either_way_round_are_one_task():
    votes = poll(np.linspace(-2, 2, 6), 200, 1, trust=[0.95, 0.9, 0.85, 0.1])
    model = DawidSkene().fit(votes)
    assert len(model.tasks_) == 15
    assert model.errors_[:, 0, 0] == pytest.approx(model.errors_[:, 1, 1])
    # Items are named in the order of their strength.
    assert model.labels_ == ["second"] * 15
    assert model.errors_[3, 0, 0] < 0.3
    turned = Votes(
        votes.items,
        votes.right,
        votes.left,
        np.where(votes.outcome < 2, 1 - votes.outcome, 2).astype(np.int8),
        annotator=votes.annotator,
        annotators=votes.annotators,
    )
    assert DawidSkene().fit(turned).posterior_ == pytest.approx(model.posterior_)


def test_what_cannot_be_told_is_said():
    table, _ = judged(SKILL, 5, 0)
    with pytest.raises(FeedbackError, match="lacks label; it has task, annotator, said"):
        DawidSkene().fit({"task": [1], "annotator": ["a"], "said": ["x"]})
    with pytest.raises(FeedbackError, match="every label is 'x'"):
        DawidSkene().fit({"task": [1, 2], "worker": ["a", "b"], "label": ["x", "x"]})
    with pytest.raises(FeedbackError, match="row 2 lacks"):
        DawidSkene().fit({"task": [1, 2], "worker": ["a", None], "label": ["x", "y"]})
    with pytest.raises(FeedbackError, match="column annotator"):
        DawidSkene().fit(g1())
    with pytest.raises(OptionError, match="'blue' is not among the 2 classes"):
        DawidSkene().fit(table, {"t0001": "blue"})
    with pytest.raises(OptionError, match="'matrix' or 'coin'"):
        DawidSkene(errors="dice").fit(table)

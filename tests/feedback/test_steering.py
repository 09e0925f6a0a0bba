"""Feedback turned towards a person, a group or a compromise."""

import numpy as np
import pytest

import pluralign
from pluralign.errors import FeedbackError
from pluralign.feedback.recipes import name_groups, relabel, weigh_people
from pluralign.feedback.record import plain
from pluralign.lab import people
from pluralign.train.data import sides

ROWS = [
    {"prompt": "2+2?", "chosen": "four, I am sure", "rejected": "4", "annotator": "ada"},
    {"prompt": "2+2?", "chosen": "4", "rejected": "five", "annotator": "ben"},
]


def test_relabelled_pairs_are_what_somebody_of_that_reward_says() -> None:
    feedback = people.simulate(60, seed=3)
    utility = people.BRIEF.utility
    turned = relabel(feedback, lambda prompt, texts: [utility(prompt, t) for t in texts], name="brief")
    assert len(turned) == len(feedback)
    for before, j in zip(feedback, turned, strict=True):
        first, second = (utility(plain(j.prompt), plain(r.messages)) for r in j.responses)
        assert first >= second
        assert j.probability == pytest.approx(1 / (1 + np.exp(second - first)))
        assert sides(j)[0] == 0
        assert j.annotator == "brief"
        assert {plain(r.messages) for r in before.responses} == {plain(r.messages) for r in j.responses}
    assert turned.history[-1]["recipe"] == "relabel"


def test_relabelling_says_what_it_left_out_and_what_is_no_reward() -> None:
    mixed = pluralign.read(ROWS)
    votes = pluralign.Feedback.from_judgements([*mixed, *pluralign.read([{"prompt": "a", "completion": "b"}])])
    turned = relabel(votes, lambda prompt, texts: [len(t) for t in texts])
    assert turned.history[-1]["left_out"] == {"not two texts": 1}
    with pytest.raises(FeedbackError, match="a number each"):
        relabel(mixed, lambda prompt, texts: 1.0)


def test_weights_are_multiplied_and_everybody_needs_one() -> None:
    once = weigh_people(pluralign.read(ROWS), {"ada": 0.25, "ben": 1.0})
    twice = weigh_people(once, {"ada": 0.5, "ben": 2.0})
    assert twice.table["weight"].to_pylist() == [0.125, 2.0]
    with pytest.raises(FeedbackError, match=r"row 2: 'ben' is not among"):
        weigh_people(once, {"ada": 1.0})
    with pytest.raises(FeedbackError, match="below zero"):
        weigh_people(once, {"ada": -1.0, "ben": 1.0})


def test_groups_stand_in_meta() -> None:
    named = name_groups(pluralign.read(ROWS), {"ada": "full", "ben": "brief"})
    assert [j.meta["group"] for j in named] == ["full", "brief"]
    with pytest.raises(FeedbackError, match=r"row 1: 'ada'"):
        name_groups(pluralign.read(ROWS), {})

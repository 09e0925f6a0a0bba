"""Scores in spite of gross errors and gaps: the card's table, noise, and what is told of the errors."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import kendalltau

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import BradleyTerry, Pairwise, RobustPCA
from pluralign.rank.voting import win_share
from tests.rank.golden import g1


def league(seed, share, *, n=40, votes=None, missing=0.0):
    """Pairs of items with normal scores, a share of them reversed and three times as strong."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=n)
    i, j = np.triu_indices(n, 1)
    odds = theta[i] - theta[j]
    wrong = rng.random(len(i)) < share
    odds = np.where(wrong, -3 * odds, odds)
    p = expit(odds)
    total = np.where(rng.random(len(i)) < missing, 0.0, votes or 1000.0)
    won = rng.binomial(total.astype(int), p).astype(float) if votes else total * p
    wins = np.zeros((n, n))
    wins[i, j], wins[j, i] = won, total - won
    return theta, wrong, Pairwise([str(k) for k in range(n)], wins, np.zeros((n, n)))


@pytest.mark.parametrize(
    ("share", "plain", "robust"), [(0.05, (0.85, 0.97), 0.9999), (0.1, (0.75, 0.95), 0.9999), (0.2, (0.4, 0.85), 0.97)]
)
def test_the_table_of_the_card(share, plain, robust):
    found = []
    for seed in range(6):
        theta, _, table = league(seed, share)
        scores = RobustPCA().fit(table).scores_
        found.append([kendalltau(x, theta).statistic for x in (win_share(table), scores)])
    borda, clean = np.mean(found, axis=0)
    assert plain[0] < borda < plain[1]
    assert clean >= robust


def test_errors_are_found_in_noise_and_gaps_are_filled():
    theta, wrong, table = league(1, 0.05, votes=200, missing=0.3)
    model = RobustPCA().fit(table)
    gross = wrong & (np.abs(theta[np.triu_indices(40, 1)[0]] - theta[np.triu_indices(40, 1)[1]]) > 1)
    planted = {
        (str(i), str(j)) for i, j, bad in zip(*np.triu_indices(40, 1), gross, strict=True) if bad and table.votes[i, j]
    }
    flagged = set(zip(*model.corrupted().select("a", "b").to_dict(as_series=False).values(), strict=True))
    assert planted <= flagged
    assert len(flagged) < 0.07 * (table.votes > 0).sum() / 2
    assert {tuple(row) for row in model.corrupted().head(5).select("a", "b").iter_rows()} <= planted
    never = np.argwhere(np.triu(table.votes == 0, 1))
    a, b = never.T.astype(str)
    expected = expit(theta[never[:, 0]] - theta[never[:, 1]])
    assert np.abs(model.predict_proba(a, b) - expected).max() < 0.25
    assert np.abs(model.predict_proba(a, b) - expected).mean() < 0.05
    assert np.abs(model.scores_ - (theta - theta.mean())).max() < 0.35


def test_without_errors_it_is_bradley_terry_and_parts_add_up():
    theta, _, table = league(2, 0.0, n=10)
    model = RobustPCA().fit(table)
    assert model.scores_ == pytest.approx(theta - theta.mean(), abs=1e-6)
    assert model.corrupted().is_empty()
    assert np.abs(model.low_rank_ + model.low_rank_.T).max() < 1e-9
    assert model.predict_proba("0", "1") + model.predict_proba("1", "0") == pytest.approx(1)
    order = np.random.default_rng(0).permutation(10)
    renamed = Pairwise([str(k) for k in order], table.wins[np.ix_(order, order)], table.ties)
    assert RobustPCA().fit(renamed).scores_ == pytest.approx(model.scores_[order], abs=1e-6)
    turned = Pairwise(table.items, table.wins.T, table.ties)
    assert RobustPCA().fit(turned).scores_ == pytest.approx(-model.scores_, abs=1e-6)


def test_what_it_cannot_tell_is_said():
    with pytest.raises(FeedbackError, match="'c' was compared with 1 others, too few"):
        RobustPCA().fit([["a", "b"], ["b", "c"], ["a", "b"]][:2] + [["a", "b", "d"]] * 2 + [["d", "b", "a"]])
    for options in ({"rank": 3}, {"clip": 0.5}, {"threshold": 0}):
        with pytest.raises(OptionError, match="rank is even"):
            RobustPCA(**options).fit(g1())
    model = RobustPCA().fit(g1())
    assert np.abs(model.scores_).max() < 5 * np.abs(BradleyTerry().fit(g1()).scores_).max()
    with pytest.raises(OptionError, match="'9' is not among"):
        model.predict_proba("9", "1")

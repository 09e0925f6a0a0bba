"""What to ask next: expected information, Arena's rule, connection first, and what it saves."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from scipy.integrate import quad
from scipy.special import expit, xlogy
from scipy.stats import norm
from typer.testing import CliRunner

from pluralign.cli import app
from pluralign.errors import OptionError
from pluralign.rank import BradleyTerry, Votes, next_pairs
from pluralign.rank.next_pairs import information  # type: ignore[attr-defined]

RULES = ("information", "arena", "uniform")


def asked(theta, pairs, rng):
    left, right = (np.array([int(name) for name in pairs[side]]) for side in ("left", "right"))
    said = (rng.random(len(left)) > expit(theta[left] - theta[right])).astype(np.int8)
    return left.astype(np.int32), right.astype(np.int32), said


def campaign(theta, budget, batch, rule, seed, spread):
    """Votes gathered batch after batch by a rule."""
    rng = np.random.default_rng(seed)
    names = [str(i) for i in range(len(theta))]
    rows = [np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int8)]
    for k in range(budget // batch):
        so_far = Votes(names, *rows) if len(rows[0]) else None
        pairs = next_pairs(so_far, batch, rule, items=names, spread=spread, seed=seed * 1000 + k)
        rows = [np.concatenate(both) for both in zip(rows, asked(theta, pairs, rng), strict=True)]
    return Votes(names, *rows)


def keys(pairs):
    return [tuple(sorted(row)) for row in pairs.select("left", "right").iter_rows()]


@pytest.mark.parametrize(("margin", "variance"), [(0.0, 1.0), (1.5, 4.0), (-3.0, 0.5), (5.0, 6.0)])
def test_information_is_the_mutual_information_of_vote_and_margin(margin, variance):
    def entropy(p):
        return -xlogy(p, p) - xlogy(1 - p, 1 - p)

    def over(f):
        scale = np.sqrt(variance)
        return quad(lambda x: f(expit(x)) * norm.pdf(x, margin, scale), margin - 9 * scale, margin + 9 * scale)[0]

    by_hand = entropy(over(lambda p: p)) - over(entropy)
    assert information(np.array([margin]), np.array([variance]))[0] == pytest.approx(by_hand, abs=1e-3)


def test_little_uncertainty_tells_half_its_fisher_information():
    p = expit(0.7)
    assert information(np.array([0.7]), np.array([1e-4]))[0] == pytest.approx(0.5 * p * (1 - p) * 1e-4, rel=1e-3)


def test_without_votes_all_pairs_tell_the_same_and_the_draw_decides():
    first = {keys(next_pairs(None, 1, items="abcdef", seed=seed))[0] for seed in range(40)}
    assert len(first) > 8
    told = next_pairs(None, 3, items="abcdef")["information"]
    assert told[0] == pytest.approx(information(np.zeros(1), np.array([2 * 1.5**2]))[0])


@pytest.mark.parametrize("rule", RULES)
def test_what_is_apart_is_connected_first(rule):
    votes = {"winner": ["a", "b", "c", "d"] * 5, "loser": ["b", "a", "d", "c"] * 5}
    for seed in range(10):
        pairs = keys(next_pairs(votes, 3, rule, items=["e", "f"], seed=seed))
        winner, loser = [*votes["winner"], *(a for a, _ in pairs)], [*votes["loser"], *(b for _, b in pairs)]
        whole = Votes.of({"winner": winner, "loser": loser})
        assert whole.items == list("abcdef")
        assert set(BradleyTerry(virtual=0.5).fit(whole).graph_.component) == {0}


def test_a_batch_is_greedy_with_the_posterior_moved_on():
    """Each pick is the best by brute force, and no pair fills the batch."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=8)
    votes = campaign(theta, 40, 40, "uniform", 3, 1.0)
    found = next_pairs(votes, 12, spread=1.0)
    fitted = BradleyTerry(ridge=1.0).fit(votes)
    c, low, high = fitted.covariance("model"), *np.triu_indices(8, 1)
    margin = fitted.scores_[low] - fitted.scores_[high]
    for row, key in zip(found["information"], keys(found), strict=True):
        told = information(margin, c[low, low] + c[high, high] - 2 * c[low, high])
        assert row == pytest.approx(told.max(), rel=1e-6)
        i, j = (int(name) for name in key)
        pair = np.flatnonzero((low == i) & (high == j))[0]
        assert told[pair] == pytest.approx(told.max(), rel=1e-6)
        p, x = expit(margin[pair]), np.eye(8)[i] - np.eye(8)[j]
        c = np.linalg.inv(np.linalg.inv(c) + p * (1 - p) * np.outer(x, x))
    assert max(Counter(keys(found)).values()) <= 2


def test_arenas_rule_of_the_card():
    """Chances follow sqrt(S / n) - sqrt(S / (n + 1)), smoothed, nine times in ten; one in ten is even."""
    won = {("a", "b"): (30, 10), ("b", "c"): (3, 1), ("a", "c"): (0, 0)}
    rows = [(a, b) for (a, b), (w, _) in won.items() for _ in range(w)]
    rows += [(b, a) for (a, b), (_, lost) in won.items() for _ in range(lost)]
    found = next_pairs({"winner": [a for a, _ in rows], "loser": [b for _, b in rows]}, 4000, "arena")
    weight = {}
    for pair, (wins, losses) in won.items():
        share, count = (wins + 1) / (wins + losses + 2), wins + losses + 1
        weight[pair] = np.sqrt(share * (1 - share)) * (1 / np.sqrt(count) - 1 / np.sqrt(count + 1))
    chance = {pair: 0.9 * w / sum(weight.values()) + 0.1 / 3 for pair, w in weight.items()}
    told = dict(zip(keys(found), found["chance"], strict=True))
    assert told == pytest.approx(chance)
    drawn = Counter(keys(found))
    for pair, p in chance.items():
        assert drawn[pair] / 4000 == pytest.approx(p, abs=4 * np.sqrt(p / 4000))
    # Weighted by one over their chance, draws count every pair alike.
    total = (
        found.with_columns(key=pl.Series([str(k) for k in keys(found)]))
        .group_by("key")
        .agg(n=(1 / pl.col("chance")).sum())
    )
    assert total["n"].to_numpy() / 4000 == pytest.approx([1, 1, 1], rel=0.1)


def test_expected_information_saves_votes_where_strengths_spread():
    """Card: 20 items, scores of deviation 2.5, 200 votes: RMSE .785 by even draws and .652 by design."""
    error = {rule: [] for rule in ("information", "uniform")}
    for seed in range(8):
        theta = np.random.default_rng(seed).normal(scale=2.5, size=20)
        for rule, errors in error.items():
            fitted = BradleyTerry(ridge=1 / 2.5**2).fit(campaign(theta, 200, 20, rule, seed, 2.5))
            centred = theta - theta.mean()
            errors.append(np.sqrt(np.mean((fitted.scores_ - fitted.scores_.mean() - centred) ** 2)))
    assert np.mean(error["uniform"]) == pytest.approx(0.785, abs=0.12)
    assert np.mean(error["information"]) < 0.9 * np.mean(error["uniform"])


def test_bad_input_is_one_sentence():
    votes = {"winner": ["a"], "loser": ["b"]}
    for arguments, said in (
        ((votes, 0), "n must be one or more"),
        ((votes, 1, "best"), "no rule 'best'"),
        ((None, 1), "there are 0"),
    ):
        with pytest.raises(OptionError, match=said):
            next_pairs(*arguments)


def test_sides_are_drawn():
    pairs = next_pairs({"winner": ["a", "b"], "loser": ["b", "a"]}, 200, "uniform")
    assert 60 < (pairs["left"] == "a").sum() < 140


def test_the_command_writes_a_table(tmp_path):
    (tmp_path / "votes.csv").write_text("left,right,label\na,b,left\nb,a,left\n")
    run = CliRunner().invoke(
        app, ["next-pairs", str(tmp_path / "votes.csv"), "3", "--item", "c", "--out", str(tmp_path / "x.csv")]
    )
    assert run.exit_code == 0, run.output
    assert "c" in {*pl.read_csv(tmp_path / "x.csv").head(1).select("left", "right").row(0)}
    shown = CliRunner().invoke(app, ["next-pairs", str(tmp_path / "votes.csv"), "2", "--rule", "arena"])
    assert "chance" in shown.output

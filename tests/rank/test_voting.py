"""Rules of voting: the card's profile, brute force, and what must not depend on names, voters' order or copies."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from typer.testing import CliRunner

from pluralign.cli import app
from pluralign.rank import Pairwise, maximal_lottery, rank, social_choice
from pluralign.rank.kemeny import cost, kemeny
from pluralign.rank.least_norm import least_norm
from pluralign.rank.linear_ordering import linear_order
from pluralign.rank.voting import borda, condorcet_winner, copeland, minimax, smith_set, win_share

PROFILE = [["a", "b", "c"]] * 4 + [["b", "c", "a"]] * 3 + [["c", "a", "b"]] * 2
TABLES = st.integers(2, 7).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 5), min_size=n, max_size=n), min_size=n, max_size=n)
)


def table(rows, ties=None):
    wins = np.array(rows, dtype=float)
    np.fill_diagonal(wins, 0)
    return Pairwise([str(i) for i in range(len(wins))], wins, np.zeros_like(wins) if ties is None else ties)


def renamed(found, order):
    return Pairwise([found.items[i] for i in order], found.wins[np.ix_(order, order)], found.ties[np.ix_(order, order)])


def test_the_profile_of_the_card():
    found = Pairwise.of(PROFILE)
    assert (found.wins[0, 1], found.wins[1, 2], found.wins[2, 0]) == (6, 7, 5)
    assert borda(found).tolist() == [10, 10, 7]
    assert win_share(found) == pytest.approx(borda(found) / 18)
    assert copeland(found).tolist() == [1, 1, 1]
    assert minimax(found).tolist() == [5, 6, 7]
    best = kemeny(found.wins)
    assert (best.order.tolist(), best.cost, best.exact) == ([0, 1, 2], 10, True)
    assert maximal_lottery(found) == pytest.approx([5 / 9, 1 / 9, 3 / 9])
    assert condorcet_winner(found) is None
    assert smith_set(found) == ["a", "b", "c"]


def test_lotteries_of_circles():
    assert maximal_lottery(table([[0, 1, 0], [0, 0, 1], [1, 0, 0]])) == pytest.approx([1 / 3] * 3)
    assert maximal_lottery(table([[0, 2, 0], [0, 0, 4], [1, 0, 0]])) == pytest.approx([4 / 7, 1 / 7, 2 / 7])
    # Level majorities leave many maximal lotteries; the most even one treats equals alike.
    assert maximal_lottery(table(np.zeros((3, 3)))) == pytest.approx([1 / 3] * 3)
    level = table([[0, 0, 3], [0, 0, 3], [0, 0, 0]])
    assert maximal_lottery(level) == pytest.approx([0.5, 0.5, 0])


@settings(deadline=None, max_examples=120)
@given(TABLES)
def test_a_lottery_is_behind_nobody_and_stays_in_smiths_set(rows):
    found = table(rows)
    lottery = maximal_lottery(found)
    assert lottery.sum() == pytest.approx(1)
    assert (lottery >= 0).all()
    assert (lottery @ found.margins).min() > -1e-6
    inside = np.isin(found.items, smith_set(found))
    assert lottery[~inside].max(initial=0) < 1e-6
    if (winner := condorcet_winner(found)) is not None:
        assert lottery[found.items.index(winner)] == pytest.approx(1)
        assert smith_set(found) == [winner]
    # No maximal lottery is more even than the one taken: any other solution of the linear program has a larger norm.
    n = len(lottery)
    other = linprog(
        np.arange(n), A_ub=-found.margins.T, b_ub=np.zeros(n), A_eq=np.ones((1, n)), b_eq=[1], method="highs"
    ).x
    assert lottery @ lottery <= other @ other + 1e-6


def test_clones_share_the_chance_of_their_original():
    wins = Pairwise.of(PROFILE).wins
    cloned = np.zeros((4, 4))
    cloned[:3, :3] = wins
    cloned[3, :3], cloned[:3, 3] = wins[1], wins[:, 1]
    assert maximal_lottery(table(cloned)) == pytest.approx([5 / 9, 1 / 18, 3 / 9, 1 / 18])


@settings(deadline=None, max_examples=80)
@given(TABLES)
def test_smiths_set_by_brute_force(rows):
    found = table(rows)
    beats = found.margins > 0
    for size in range(1, found.n + 1):
        groups = [
            group
            for group in itertools.combinations(range(found.n), size)
            if all(beats[i, j] for i in group for j in range(found.n) if j not in group)
        ]
        if groups:
            assert smith_set(found) == [found.items[i] for i in groups[0]]
            assert len(groups) == 1
            return


@settings(deadline=None, max_examples=80)
@given(TABLES, st.randoms(use_true_random=False))
def test_names_and_directions(rows, random):
    found = table(rows)
    order = list(range(found.n))
    random.shuffle(order)
    other = renamed(found, order)
    for rule in (borda, win_share, copeland, minimax, maximal_lottery):
        assert rule(other) == pytest.approx(rule(found)[order], abs=1e-6, nan_ok=True)
    assert sorted(smith_set(other)) == sorted(smith_set(found))
    assert condorcet_winner(other) == condorcet_winner(found)
    assert kemeny(other.wins).cost == pytest.approx(kemeny(found.wins).cost)
    turned = Pairwise(found.items, found.wins.T, found.ties)
    assert copeland(turned) == pytest.approx(found.n - 1 - copeland(found))
    assert win_share(turned) == pytest.approx(1 - win_share(found), nan_ok=True)
    assert kemeny(turned.wins).cost == pytest.approx(kemeny(found.wins).cost)
    reverse = kemeny(found.wins).order[::-1]
    assert cost(turned.wins, reverse) == pytest.approx(kemeny(turned.wins).cost)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.permutations("abcd"), min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_voters_are_anonymous_and_one_more_for_the_winner_does_not_harm_it(ballots, random):
    shuffled = list(ballots)
    random.shuffle(shuffled)
    one, two = Pairwise.of([list(b) for b in ballots]), Pairwise.of([list(b) for b in shuffled])
    assert np.array_equal(one.wins, two.wins)
    winner = condorcet_winner(one)
    if winner is not None:
        more = [list(b) for b in ballots] + [[winner, *(x for x in "abcd" if x != winner)]]
        assert condorcet_winner(Pairwise.of(more)) == winner


def test_unequal_counts_do_not_move_win_shares():
    rare, often = table([[0, 2, 1], [1, 0, 2], [1, 1, 0]]), table([[0, 20, 1], [10, 0, 2], [1, 1, 0]])
    assert win_share(rare) == pytest.approx(win_share(often))
    assert np.isnan(win_share(table([[0, 1, 0], [0, 0, 0], [0, 0, 0]]))[2])


def test_linear_programs_prove_what_subsets_prove():
    rng = np.random.default_rng(0)
    for n in (3, 6, 9, 12):
        votes = rng.integers(0, 12, size=(n, n)).astype(float)
        np.fill_diagonal(votes, 0)
        order, bound = linear_order(votes, rng.permutation(n))
        assert cost(votes, order) == bound == kemeny(votes).cost
    # Twenty items in one circle, proved; weights that are no whole numbers.
    votes = rng.poisson(5 + 3 * np.tri(20, k=-1).T) + 0.25
    np.fill_diagonal(votes, 0)
    found = kemeny(votes)
    assert found.exact
    assert found.cost <= cost(votes, np.arange(20)) + 1e-9
    assert cost(votes, linear_order(votes, np.arange(20)[::-1])[0]) == pytest.approx(found.cost)


def test_a_program_that_does_not_settle_it_gives_a_bound():
    rng = np.random.default_rng(5)
    votes = rng.integers(0, 20, size=(34, 34)).astype(float)
    np.fill_diagonal(votes, 0)
    found = kemeny(votes)
    assert found.bound <= found.cost < 1.02 * found.bound


def test_equals_stay_equal_in_any_order():
    # Many rows meet in one point here, where a solver of least squares can lose its way.
    wins = np.zeros((6, 6))
    wins[[0, 1, 1, 1, 2], [5, 2, 3, 4, 0]] = 3, 1, 4, 3, 1
    for order in itertools.permutations(range(6)):
        lottery = maximal_lottery(table(wins[np.ix_(order, order)]))
        assert lottery[np.argsort(order)] == pytest.approx([0.5, 0.5, 0, 0, 0, 0])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000))
def test_the_nearest_point_of_a_polyhedron(seed):
    rng = np.random.default_rng(seed)
    rows, inside = rng.normal(size=(6, 3)), rng.normal(size=3)
    bounds = rows @ inside - rng.uniform(0, 1, 6)
    nearest = least_norm(rows, bounds)
    assert (rows @ nearest >= bounds - 1e-7).all()
    assert nearest @ nearest <= inside @ inside + 1e-9
    # Optimality: no feasible direction from the nearest point leads closer to the origin.
    target = linprog(nearest, A_ub=-rows, b_ub=-bounds, bounds=(None, None), method="highs")
    assert target.status != 0 or target.fun >= nearest @ nearest - 1e-6


def test_one_call_gives_all_of_them():
    found = social_choice(PROFILE, replicates=19)
    assert found.table.row(0) == pytest.approx(("a", 10 / 18, 1, 5, 1, 5 / 9))
    assert found.circles is not None
    assert found.circles.height == 1
    text = found.to_markdown()
    assert "| 1 | a | 0.556 | 1 | 5 | 0.556 |" in text
    assert "Smith's set) has 3 of 3 items: a, b, c" in text
    assert "10 votes of pairs contradict it, and no order does better" in text
    plain = social_choice([["a", "b", "c"]] * 3, replicates=9)
    assert "Majorities put a above each other item" in plain.to_markdown()
    assert plain.cyclicity.p_value > 0.05


def test_the_command_adds_rules_where_they_are_asked_for(tmp_path):
    rows = [(a, b) for ballot in PROFILE for a, b in itertools.combinations(ballot, 2)]
    (tmp_path / "v.csv").write_text("winner,loser\n" + "".join(f"{a},{b}\n" for a, b in rows))
    for suffix in ("html", "md"):
        out = tmp_path / f"board.{suffix}"
        shown = CliRunner().invoke(app, ["rank", str(tmp_path / "v.csv"), "--rules", "--out", str(out)])
        assert shown.exit_code == 0, shown.output
        text = out.read_text()
        for found in (shown.output, text):
            assert "0.556" in found
            assert "runs in circles" in " ".join(found.split())
            assert "no order does better" in " ".join(found.split())
    assert "who beats the first" in (tmp_path / "board.html").read_text()
    plain = CliRunner().invoke(app, ["rank", str(tmp_path / "v.csv"), "--out", str(out)])
    assert "lottery" not in plain.output + out.read_text()
    assert rank(tmp_path / "v.csv").social_choice().smith_set == ["a", "b", "c"]

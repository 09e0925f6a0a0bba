"""What is gone by, found again where it was planted."""

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from pluralign.errors import PluralignError
from pluralign.evaluate.explain import (
    concept_table,
    concept_weights,
    draw,
    factor_agreement,
    factor_alignment,
    factor_strengths,
    probe_layers,
)

NAMES = ["true", "short", "fluent", "off topic", "false"]


def test_planted_strengths_come_out_in_order_and_shared_factors_say_nothing() -> None:
    random, worth = np.random.default_rng(0), np.array([2.0, 1.0, 0.0, -1.0, -2.0])
    left, right = random.random((2, 800, 5)) < 0.5
    both = (left.astype(float) - right) @ worth
    wins = random.random(800) < expit(both)
    winner, loser = np.where(wins[:, None], left, right), np.where(wins[:, None], right, left)
    table = factor_strengths(winner, loser, NAMES)
    assert table["factor"].to_list() == NAMES
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()
    assert table["low"][0] > table["high"][4]
    common = np.ones((800, 1), dtype=bool)
    more = factor_strengths(np.hstack([winner, common]), np.hstack([loser, common]), [*NAMES, "shared"])
    assert more.filter(more["factor"] == "shared")["choices"].to_list() == [0]
    assert more.filter(more["factor"] == "shared")["value"][0] == pytest.approx(-0.0, abs=0.1)


def test_agreement_is_one_for_a_perfect_factor_a_half_with_half_ties_and_none_at_random() -> None:
    random = np.random.default_rng(1)
    judge = random.choice([-1.0, 1.0], 4000)
    half = np.where(np.arange(4000) % 2, judge, 0)
    table = factor_agreement(np.stack([judge, half, random.normal(size=4000)], 1), judge, ["same", "half", "noise"])
    assert table["value"].to_list()[:2] == [1.0, 0.5]
    assert table["low"][2] < 0 < table["high"][2]
    # A verdict of neither is left out.
    assert factor_agreement([[1.0], [1.0]], [1.0, 0.0], ["a"])["value"].to_list() == [1.0]


def test_votes_on_one_pair_are_one_observation() -> None:
    random = np.random.default_rng(6)
    winner, loser = random.random((2, 150, 5)) < 0.5
    alone = factor_strengths(winner, loser, NAMES)
    pairs = np.arange(150).repeat(4)
    copied = factor_strengths(winner.repeat(4, 0), loser.repeat(4, 0), NAMES, pairs, ridge=0.4)
    naive = factor_strengths(winner.repeat(4, 0), loser.repeat(4, 0), NAMES, ridge=0.4)

    def width(table: pl.DataFrame) -> float:
        return float((table["high"] - table["low"]).mean())

    assert copied["value"].to_list() == pytest.approx(alone["value"].to_list())
    assert width(copied) == pytest.approx(width(alone), rel=0.2)
    assert width(naive) < 0.7 * width(alone)
    with pytest.raises(PluralignError, match="3 clusters for 150"):
        factor_strengths(winner, loser, NAMES, [1, 2, 3])


def test_judges_that_go_by_the_same_factors_are_alike_and_by_others_not() -> None:
    random = np.random.default_rng(7)
    x, worth = random.choice([-1.0, 0.0, 1.0], (1500, 5)), np.array([2.0, 1.0, 0.0, -1.0, -2.0])

    def judge(w: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.where(random.random(len(rows)) < expit(rows @ w), 1.0, -1.0)

    other = random.choice([-1.0, 0.0, 1.0], (1500, 5))
    same = factor_alignment((x, judge(worth, x)), (other, judge(worth, other)), NAMES)
    assert same.value == pytest.approx(1.0)
    against = factor_alignment((x, judge(worth, x)), (x, judge(-worth, x)), NAMES)
    assert against.value == pytest.approx(-1.0)
    lost = factor_alignment((x, judge(worth, x)), (x, random.choice([-1.0, 1.0], 1500)), NAMES)
    assert lost.low < 0 < lost.high
    # A judge compared with itself, about the same pairs, is resampled with itself.
    said = judge(worth, x)
    units = np.arange(1500) // 3
    assert factor_alignment((x, said), (x, said), NAMES, (units, units)).low == pytest.approx(1.0)


def _domains(random: np.random.Generator, each: int = 400) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Four domains that share three concepts, and each has one of its own; eight concepts in all."""
    x = random.normal(size=(4 * each, 8))
    domain = np.repeat(np.arange(4), each)
    weights = np.zeros((4, 8))
    weights[:, :3] = [1.5, -1.2, 1.0]
    weights[np.arange(4), 3 + np.arange(4)] = 1.5
    y = np.where(random.random(len(x)) < expit((x * weights[domain]).sum(1)), 1.0, -1.0)
    return x, y, [f"d{i}" for i in domain]


def test_shared_and_own_concepts_are_told_apart() -> None:
    x, y, domains = _domains(np.random.default_rng(2))
    shared, own = concept_weights(x, y, domains, alpha=0.5, shared_penalty=0.03, own_penalty=0.02)
    assert set(np.flatnonzero(np.abs(shared) > 0.2)) == {0, 1, 2}
    for i in range(4):
        assert set(np.flatnonzero(np.abs(own[f"d{i}"]) > 0.3)) == {3 + i}
    one, none = concept_weights(x, y, domains, own_penalty=1.0)
    assert not any(s.any() for s in none.values())
    zero, separate = concept_weights(x, y, domains, alpha=0.0, shared_penalty=10.0)
    assert not zero.any()
    assert all(s[:3].any() for s in separate.values())
    assert one.any()


def test_a_shared_part_that_must_foretell_alone_serves_a_domain_not_seen() -> None:
    random, gain = np.random.default_rng(3), []
    for _ in range(3):
        x, y, domains = _domains(random, 60)
        for held in range(4):
            rest = np.array([d != f"d{held}" for d in domains])
            names = [d for d in domains if d != f"d{held}"]
            right = []
            for alpha in (0.0, 2.0):
                b, _ = concept_weights(
                    x[rest], y[rest], names, alpha=alpha, shared_penalty=0.06, own_penalty=0.02, steps=400
                )
                right.append(float((np.sign(x[~rest] @ b) == y[~rest]).mean()))
            gain.append(right[1] - right[0])
    assert np.mean(gain) > 0.01


def test_concepts_have_intervals_and_a_picture() -> None:
    x, y, domains = _domains(np.random.default_rng(4), 60)
    table = concept_table(x[:, :4], y, domains, list("abcd"), steps=60)
    assert len(table) == 5 * 4
    assert table["low"][0] > 0.3  # the first shared one
    assert len(draw(table, "weight").axes[0].get_yticklabels()) == 20


def test_a_planted_direction_is_found_in_its_layer_and_shuffled_labels_tell_nothing() -> None:
    random = np.random.default_rng(5)
    noise, told = random.normal(size=(2, 400, 64))
    direction = random.normal(size=64) / 8
    told *= np.sign(told @ direction)[:, None]  # the preferred response lies along it
    table = probe_layers(np.stack([noise, told]))
    assert table["value"][1] > 0.9
    assert table["low"][0] < 0.5 < table["high"][0]
    assert abs(table["shuffled"][1] - 0.5) < 0.08
    assert table["p"][1] < 0.001
    swapped = probe_layers(-np.stack([noise, told]))  # the other way round is told as well: no intercept
    assert swapped["value"].to_list() == table["value"].to_list()


def test_a_probe_that_reads_length_is_no_better_than_length() -> None:
    random = np.random.default_rng(8)
    longer = np.where(random.random(300) < 0.8, 1.0, -1.0)  # the preferred response is the longer one, mostly
    h = np.stack([np.outer(longer, random.normal(size=16)) + 0.01 * random.normal(size=(300, 16))])
    table = probe_layers(h, baseline=(longer > 0).astype(float))
    assert table["value"][0] == pytest.approx(0.8, abs=0.06)
    assert table["over_low"][0] <= 0 <= table["over_high"][0]
    assert abs(table["over"][0]) < 0.02
    assert probe_layers(h)["value"][0] > 0.7


def test_the_ridge_is_chosen_among_what_is_fitted() -> None:
    random = np.random.default_rng(9)
    noise = 4 * random.normal(size=(300, 1))
    # Only a direction that takes the second number from the first tells anything, which a heavy ridge forbids.
    h = np.hstack([noise + 0.5 + 0.2 * random.normal(size=(300, 1)), noise])[None]
    each = {ridge: probe_layers(h, ridge=ridge)["value"][0] for ridge in (1e-3, 1e6)}
    assert each[1e-3] > each[1e6] + 0.2
    for order in ([1e-3, 1e6], [1e6, 1e-3]):
        assert probe_layers(h, ridge=order)["value"][0] == each[1e-3]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: factor_strengths([[1]], [[1], [0]], ["a"]), "one for each choice"),
        (lambda: factor_agreement([[1.0]], [0.0], ["a"]), "not all ties"),
        (lambda: factor_agreement([[1.0]], [1.0], ["a", "b"]), "2 names"),
        (lambda: factor_alignment(([[1.0]], [1.0]), ([[1.0]], [1.0]), ["a"]), "three factors"),
        (lambda: concept_weights([[1.0]], [0.5], ["a"]), r"\+1 or -1"),
        (lambda: concept_weights([[1.0]], [1.0], ["a"], alpha=-1), "at least zero"),
        (lambda: probe_layers([[[1.0]]]), "layers, pairs, width"),
    ],
)
def test_what_does_not_fit_is_said(call: object, says: str) -> None:
    with pytest.raises(PluralignError, match=says):
        call()  # type: ignore[operator]

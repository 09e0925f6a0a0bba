"""Exact laws of the best of n: what they cost, and what picking softly comes to."""

from itertools import combinations_with_replacement
from math import factorial

import numpy as np
import pytest
from dice import Die, prompts
from scipy.integrate import quad
from scipy.stats import chisquare

from pluralign.evaluate.overoptimisation import best_of_n_kl
from pluralign.lab import bandit
from pluralign.online.drawn import collect
from pluralign.online.judges import Scored
from pluralign.online.samplers import BestAndWorst

BON = bandit(np.arange(4.0), reference=[0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize("n", [2, 4, 16, 64])
def test_the_divergence_of_the_best_of_n_without_ties_is_its_bound(n: int) -> None:
    """Of uniform rewards the best of n has density n u^(n-1)."""
    found, _ = quad(lambda u: n * u ** (n - 1) * np.log(n * u ** (n - 1)) if u else 0.0, 0, 1, epsabs=1e-10)
    assert float(best_of_n_kl(n)) == pytest.approx(found, abs=1e-6)


def test_the_bound_goes_on_where_the_divergence_ends() -> None:
    """The exact law costs at most log 1 / ref(best); the bound of many draws promises more."""
    assert BON.kl(BON.best_of(64)) < np.log(10) < float(best_of_n_kl(64))
    assert BON.best_of(10_000)[0] == pytest.approx([0, 0, 0, 1], abs=1e-9)


def test_the_best_of_two_over_and_over_is_the_best_of_many() -> None:
    law = BON
    for _ in range(3):
        law = bandit(law.reward, reference=law.best_of(2))
    assert law.reference == pytest.approx(BON.best_of(8), abs=1e-12)


def test_only_the_order_of_rewards_matters_to_the_best_of_n() -> None:
    assert BON.best_of(4, np.exp(3 * BON.reward)) == pytest.approx(BON.best_of(4), abs=1e-15)


def soft(n: int, scale: float) -> np.ndarray:
    """The law of one of n draws picked with chances softmax(reward / scale): sums over all counts of draws."""
    ref, worth, found = BON.reference[0], np.exp(BON.reward[0] / scale), np.zeros(4)
    for drawn in combinations_with_replacement(range(4), n):
        count = np.bincount(drawn, minlength=4)
        chance = factorial(n) * np.prod(ref**count / [factorial(c) for c in count])
        found += chance * count * worth / (count @ worth)
    return found


def test_picking_softly_goes_to_the_tilt_like_one_over_n() -> None:
    tilt = BON.tilted(0.7)[0]
    far = {n: float(np.abs(soft(n, 0.7) - tilt).sum() / 2) for n in (2, 4, 8, 16, 32)}
    assert list(far.values()) == pytest.approx([0.408, 0.298, 0.178, 0.0884, 0.0410], abs=5e-4)
    assert 1.9 < far[16] / far[32] < 2.3
    assert soft(4, 0.02) == pytest.approx(BON.best_of(4)[0], abs=1e-9)
    assert soft(4, 1e6) == pytest.approx(BON.reference[0], abs=1e-5)


@pytest.mark.parametrize("n", [2, 8])
def test_the_sampler_picks_by_that_law(n: int) -> None:
    face = Scored(lambda prompt, face: float(face), name="face")
    drawn = collect(BestAndWorst(Die(n), face, worst=False, temperature=0.7), prompts(1500), seed=2)
    count = np.bincount([int(d.samples[0].text) for d in drawn], minlength=4)
    assert chisquare(count, 1500 * soft(n, 0.7)).pvalue > 1e-3

"""Worlds with known answers: closed forms of the cards, objective by objective. Names carry the objective's key."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import brentq

from pluralign import lab
from pluralign.errors import OptionError
from pluralign.objectives import Need, catalogue

REWARD = np.array([[1.0, 0.2, -0.5, 0.0], [-0.3, 0.4, 0.1, 1.2]])
REFERENCE = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
WORLD = lab.bandit(REWARD, reference=REFERENCE)


def text_reward(text: tuple[int, ...]) -> float:
    return float(sum(text)) - 0.4 * len(text)


LANGUAGE = lab.sequences(text_reward, vocabulary=2, most=2, seed=3)


# annotators


def test_chances_of_two_sum_to_one_and_of_three_to_less() -> None:
    for said in (lab.bradley_terry(REWARD), lab.certain(REWARD), lab.flipped(lab.bradley_terry(REWARD), 0.3)):
        assert_allclose(said + np.swapaxes(said, 1, 2), 1)
    said = lab.with_ties(REWARD)
    off = ~np.eye(4, dtype=bool)
    assert ((said + np.swapaxes(said, 1, 2))[:, off] < 1).all()


def test_a_plural_crowd_is_split_as_its_shares() -> None:
    said = lab.plural([lab.certain(REWARD), lab.certain(-REWARD)], [0.8, 0.2])
    assert_allclose(said, lab.flipped(lab.certain(REWARD), 0.2))


# worlds


def test_probabilities_sum_to_one_in_every_world() -> None:
    for world in (WORLD, LANGUAGE, lab.sequences(text_reward, most=3, memory=1)):
        assert_allclose(world.reference.sum(1), 1, rtol=1e-12)


def test_a_language_writes_each_text_with_the_chance_of_its_tokens() -> None:
    world, logits = LANGUAGE, LANGUAGE.tree.reference[0]
    at_start = np.exp(logits[0] - np.log(np.exp(logits[0]).sum()))
    texts = [t for n in range(3) for t in itertools.product(range(2), repeat=n)]
    for letter in range(2):
        starts = [i for i, t in enumerate(texts) if t[:1] == (letter,)]
        assert_allclose(world.reference[0, starts].sum(), at_start[letter], rtol=1e-12)
    assert_allclose(world.reference[0, 0], at_start[2], rtol=1e-12)
    assert world.length[0].tolist() == [1, 2, 2, 2, 2, 2, 2]


def test_with_memory_texts_share_their_parameters() -> None:
    logp = np.log(lab.sequences(text_reward, most=3, memory=1).reference[0])
    texts = [t for n in range(4) for t in itertools.product(range(2), repeat=n)]
    at = {t: logp[i] for i, t in enumerate(texts)}
    # After the same letter comes the same: the chance of going on with 1 depends on the letter before alone.
    assert_allclose(at[0, 0, 1] - at[0, 0, 0], at[1, 0, 1] - at[1, 0, 0], rtol=1e-12)


def test_rankings_of_a_world_are_a_distribution() -> None:
    ranked = WORLD.rankings(3)
    for p in range(2):
        for members in itertools.combinations(range(4), 3):
            same = (ranked.prompt == p) & (np.sort(ranked.response, 1) == members).all(1)
            assert_allclose(ranked.weight[same].sum(), 1, rtol=1e-12)


def test_a_sample_holds_what_the_world_says() -> None:
    drawn = WORLD.sample(20_000, seed=1)
    first = (drawn.prompt == 0) & (drawn.response == (0, 2)).all(1)
    second = (drawn.prompt == 0) & (drawn.response == (2, 0)).all(1)
    assert_allclose(first.sum() / (first | second).sum(), WORLD.preference[0, 0, 2], atol=0.03)
    assert (drawn.weight == 1).all()


# closed forms


@pytest.mark.parametrize("people", [lab.certain, lab.bradley_terry], ids=["certain", "noisy"])
def test_ipo_closed_form(people) -> None:
    """pi_ref * exp(mean over all responses of P(y beats y') / tau), also where everybody agrees."""
    world = lab.bandit(REWARD, reference=REFERENCE, preference=people)
    expected = world.tilted(0.5, people(REWARD).mean(-1))
    assert_allclose(lab.optimum("ipo", world, beta=0.5), expected, atol=1e-8)


def test_dpo_runs_away_where_everybody_agrees() -> None:
    with pytest.raises(lab.NoOptimum, match="comes to no rest") as error:
        lab.optimum("dpo", lab.bandit([1.0, 0.0], preference=lab.certain), beta=0.5)
    assert error.value.policy[0, 0] > 0.99


def test_rdpo_recovers_the_clean_optimum_under_flips_and_cdpo_does_not() -> None:
    clean = WORLD.tilted(0.5)
    noisy = lab.bandit(REWARD, reference=REFERENCE, preference=lab.flipped(lab.bradley_terry(REWARD), 0.3))
    assert_allclose(lab.optimum("rdpo", noisy, beta=0.5, label_smoothing=0.3), clean, atol=1e-8)
    gap = {n: np.abs(lab.optimum(n, noisy, beta=0.5) - clean).max() for n in ("cdpo", "dpo")}
    assert gap["cdpo"] > gap["dpo"] > 0.05
    assert noisy.kl(lab.optimum("cdpo", noisy, beta=0.5)) < noisy.kl(clean)


def test_dpo_has_no_place_for_ties() -> None:
    with pytest.raises(OptionError, match="no place for ties"):
        lab.optimum("dpo", TIED)


SECOND = np.array([[-0.4, 0.8, 0.1, 0.0], [0.5, -0.2, 0.0, 0.3]])
SAID = lab.bradley_terry(REWARD)
UNIFORM = lab.bandit(REWARD)
TEN = {"beta": 0.5}
LANGUAGE_SAID = lab.bradley_terry(LANGUAGE.reward)


def liking(world: lab.World, said: np.ndarray) -> np.ndarray:
    """The chance [P, R] of being preferred, over all pairs asked about."""
    wins = said.sum(-1) - 0.5
    return wins / wins.sum(1, keepdims=True)


def by_length(world: lab.World, gain: np.ndarray, measure: np.ndarray | None = None) -> np.ndarray:
    """pi_ref * exp(length * (gain + c)) with the c, one a prompt, that makes it sum to one."""
    found = []
    for ref, length, g in zip(world.reference if measure is None else measure, world.length, gain, strict=True):
        c = brentq(lambda c: (ref * np.exp(length * (g + c))).sum() - 1, -50, 50, xtol=1e-15)  # noqa: B023
        found.append(ref * np.exp(length * (g + c)))
    return np.array(found)


LONG = lab.bandit(REWARD, reference=REFERENCE, length=[2.0, 5.0, 3.0, 1.0])
NOISY = lab.bandit(REWARD, reference=REFERENCE, preference=lab.flipped(SAID, 0.3))
TIED = lab.bandit(REWARD, reference=REFERENCE, preference=lambda r: lab.with_ties(r, 0.5))
AGREED = lab.bandit([1.0, 0.0], reference=[0.3, 0.7], preference=lab.certain)
LATER = lab.bandit(SECOND, reference=WORLD.tilted(0.5))
ONE = lab.bandit(REWARD[0], reference=REFERENCE[0])
PMPO = 0.7 * liking(ONE, SAID[:1]) - 0.3 * liking(ONE, np.swapaxes(SAID[:1], 1, 2)) + 2.0 * ONE.reference
BOTH = 0.3 * REWARD + 0.7 * SECOND
RATED = {"beta": 0.5, "targets": "ratings"}
# objective, world, options, frozen policies, its closed form. Ids carry the name of the objective.
FORMS: list[tuple] = [
    ("dpo", WORLD, TEN, (), WORLD.tilted(0.5)),
    ("dpo", LANGUAGE, TEN, (), LANGUAGE.tilted(0.5)),
    ("sft", WORLD, {}, (), liking(WORLD, SAID)),
    ("sft", LANGUAGE, {}, (), liking(LANGUAGE, LANGUAGE_SAID)),
    ("cpo", WORLD, {**TEN, "alpha": 0.0}, (), UNIFORM.tilted(0.5)),
    ("simpo", LONG, {**TEN, "gamma": 0.0}, (), by_length(LONG, REWARD / 0.5, np.ones((2, 4)))),
    ("ln_dpo", LONG, TEN, (), by_length(LONG, REWARD / 0.5)),
    ("ipo", WORLD, TEN, (), WORLD.tilted(0.5, SAID.mean(-1))),
    ("ipo", LONG, TEN, (), by_length(LONG, SAID.mean(-1) / 0.5)),
    ("gpo", WORLD, {**TEN, "loss": "logistic"}, (), WORLD.tilted(0.5)),
    ("gpo", WORLD, {**TEN, "loss": "squared"}, (), WORLD.tilted(0.5, 2 * SAID.mean(-1))),
    ("gpo", WORLD, {**TEN, "loss": "exponential"}, (), WORLD.tilted(0.5, REWARD / 2)),
    ("flex_dpo", WORLD, {**TEN, "rejected_beta": 0.5}, (), WORLD.tilted(0.5)),
    ("f_dpo", WORLD, {**TEN, "divergence": "reverse_kl"}, (), WORLD.tilted(0.5)),
    ("tdpo", LANGUAGE, {**TEN, "alpha": 0.0}, (), LANGUAGE.tilted(0.5)),
    ("ld_dpo", LANGUAGE, {**TEN, "ld_alpha": 1.0}, (), LANGUAGE.tilted(0.5)),
    ("r_dpo", LONG, {**TEN, "alpha": 0.3}, (), LONG.tilted(0.5, REWARD - 0.3 * LONG.length)),
    ("nll_augmented", WORLD, {**TEN, "alpha": 0.0}, (), WORLD.tilted(0.5)),
    ("mmpo", NOISY, {**TEN, "gamma": 1.0}, (), WORLD.tilted(0.5)),
    ("rdpo", NOISY, {**TEN, "label_smoothing": 0.3}, (), WORLD.tilted(0.5)),
    ("debiased(dpo)", NOISY, {**TEN, "flip_rate": 0.3}, (), WORLD.tilted(0.5)),
    ("todo", TIED, {**TEN, "alpha": 0.5}, (), WORLD.tilted(0.5)),
    ("ties(dpo)", TIED, {**TEN, "threshold": 0.5}, (), WORLD.tilted(0.5)),
    ("cdpo", AGREED, {**TEN, "label_smoothing": 0.1}, (), AGREED.tilted(0.5, [np.log(9), 0])),
    ("exo", AGREED, {**TEN, "label_smoothing": 1e-3}, (), AGREED.tilted(0.5, [np.log(999), 0])),
    ("pmpo", ONE, {"alpha": 0.7, "beta": 2.0}, (), PMPO / PMPO.sum()),
    ("spo_seq", LATER, {**TEN, "keep": 0.4}, (REFERENCE,), LATER.tilted(0.5, SECOND + 0.4 * REWARD)),
    ("pl_dpo", WORLD.rankings(), TEN, (), WORLD.tilted(0.5)),
    ("pl_dpo", WORLD.rankings(2), TEN, (), WORLD.tilted(0.5)),
    ("infonca", WORLD.rankings(), {**RATED, "temperature": 0.7}, (), WORLD.tilted(0.5 * 0.7)),
    ("exo", WORLD.rankings(), {**RATED, "temperature": 0.7}, (), WORLD.tilted(0.5 * 0.7)),
    (
        "modpo",
        WORLD,
        {**TEN, "own_weight": 0.3},
        (WORLD.tilted(0.5, SECOND),),
        WORLD.tilted(0.5, 0.3 * REWARD + 0.7 * SECOND),
    ),
]


@pytest.mark.parametrize(
    ("name", "world", "options", "frozen", "expected"),
    [pytest.param(*form, id=f"{form[0]}-{i}") for i, form in enumerate(FORMS)],
)
def test_optimum_is_the_closed_form(
    name: str, world: lab.World, options: dict, frozen: tuple, expected: np.ndarray
) -> None:
    found = lab.optimum(name, world, frozen=frozen, **options)
    assert_allclose(found, expected, atol=1e-7)


# length and style


QUALITY, LENGTH = np.array([1.0, 0.5, 0.0]), np.array([2.0, 5.0, 12.0])
LONG_WINDED = lab.confounded(QUALITY, LENGTH, 0.3, length=LENGTH)


def test_length_confounded_dpo_prefers_length_and_r_dpo_does_not() -> None:
    dpo = lab.optimum("dpo", LONG_WINDED, beta=1.0)
    assert dpo[0].argmax() == LENGTH.argmax()
    honest = lab.optimum("r_dpo", LONG_WINDED, beta=1.0, alpha=0.3)
    assert_allclose(honest, LONG_WINDED.tilted(1.0, QUALITY), atol=1e-8)
    assert LONG_WINDED.value(honest) > LONG_WINDED.value(LONG_WINDED.reference) > LONG_WINDED.value(dpo)


def test_length_confounded_simpo_asks_more_of_a_long_response_than_dpo() -> None:
    """Where judges like length, no loss over labels alone gets rid of it: SimPO too ends at the longest, and further
    than DPO, since the mean it raises moves the probability by a factor for every token."""
    simpo = lab.optimum("simpo", LONG_WINDED, beta=1.0, gamma=0.0)
    gap = np.log(simpo[0]) / LENGTH
    assert_allclose(gap - gap[0], LONG_WINDED.reward[0] - LONG_WINDED.reward[0, 0], atol=1e-7)
    assert simpo[0].argmax() == LENGTH.argmax()


def test_without_bias_the_mean_of_ln_dpo_does_not_move_with_length() -> None:
    """Equal quality, unlike lengths: ln_dpo and dpo both stay at the reference; simpo moves to where a token's mean
    probability is alike, so to the short responses."""
    world = lab.bandit([0.0, 0.0], length=[1.0, 4.0])
    assert_allclose(lab.optimum("dpo", world, beta=1.0), [[0.5, 0.5]], atol=1e-8)
    assert_allclose(lab.optimum("ln_dpo", world, beta=1.0), [[0.5, 0.5]], atol=1e-8)
    p = lab.optimum("simpo", world, beta=2.0, gamma=0.0)[0]
    assert_allclose(p[1], p[0] ** 4, rtol=1e-6)


def test_a_style_that_judges_like_is_bought_at_the_price_of_quality() -> None:
    world = lab.confounded([1.0, 0.0], feature=[0.0, 1.0], bias=2.0)
    assert_allclose(lab.optimum("dpo", world, beta=1.0), world.tilted(1.0, [1.0, 2.0]), atol=1e-8)
    assert world.value(lab.optimum("dpo", world, beta=1.0)) < world.value(world.reference)


# every objective


REFUSED = {"fpo", "rationale", "rationale_dpo", "spo_selfsup"}


@pytest.mark.parametrize("name", list(catalogue()))
def test_every_objective_is_solved_or_says_why_not(name: str) -> None:
    """A rest, or a sentence: no bare error from inside, and no silent stop."""
    goal = catalogue()[name]
    world = lab.sequences(text_reward, vocabulary=1, most=2, seed=3)
    kinds = [str(kind) for kind in goal.rows]
    if "pairs" not in kinds and "pairs and demonstrations" not in kinds:
        world = world.rankings(3) if "rankings" in kinds else world.thumbs()
    elif {"weight"} & set(goal.refuses):
        world = world.sample(60)
    if name in REFUSED:
        with pytest.raises(OptionError, match="which a world of probabilities has not"):
            lab.optimum(goal, world)
        return
    frozen = [world.tilted(1.0)] if Need.FROZEN in goal.needs() else []
    try:
        policy = lab.optimum(goal, world, frozen=frozen)
    except lab.NoOptimum as error:
        policy = error.policy
    assert_allclose(policy.sum(1), 1, rtol=1e-9)


def test_hinge_rests_in_a_corner() -> None:
    """Population hinge with P above one half: the margin stops exactly at 1 / beta."""
    world = lab.bandit([1.0, 0.0])
    p = lab.optimum("hinge_norm", world, beta=0.5)[0]
    assert_allclose(np.log(p[0] / p[1]), 1 / 0.5, atol=1e-6)


# refusals and pictures


def test_what_does_not_fit_is_told_in_a_sentence() -> None:
    with pytest.raises(OptionError, match=r"world\.rankings\(\)"):
        lab.optimum("tpo", WORLD)
    with pytest.raises(OptionError, match=r"use lab\.sequences"):
        lab.optimum("ld_dpo", lab.bandit([1.0, 0.0], length=[2.0, 3.0]))
    with pytest.raises(OptionError, match="sum to 1"):
        lab.bandit([1.0, 0.0], reference=[0.5, 0.6])
    with pytest.raises(OptionError, match="preference has shape"):
        lab.bandit([1.0, 0.0], preference=np.zeros((3, 3)))


def test_no_objective_is_above_the_best_possible(tmp_path) -> None:
    world = lab.bandit(REWARD[0], reference=REFERENCE[0])
    table = lab.frontier(["dpo", "ipo", "simpo"], world, betas=[0.5, 1.0, 2.0])
    best = table.filter(objective="best possible").sort("kl")
    dpo = table.filter(objective="dpo").sort("kl")
    assert_allclose(dpo["reward"], best["reward"], atol=1e-7)  # it traces the frontier itself
    for row in table.filter(objective="ipo").iter_rows(named=True):
        ceiling = max(
            world.value(p) for b in np.geomspace(0.01, 50, 400) if world.kl(p := world.tilted(b)) <= row["kl"]
        )
        assert row["reward"] <= ceiling + 1e-2
    lab.plot({"simpo, no margin": ("simpo", {"gamma": 0.0})}, world, betas=[1.0], out=tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 1000

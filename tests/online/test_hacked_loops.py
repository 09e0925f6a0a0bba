"""Cards self_rewarding and refine_hacking: a judge that can be gamed is, and the monitor says so in time."""

import numpy as np

from pluralign import lab
from pluralign.online.monitors import hacking

PROMPTS, ROUNDS = 200, 6


def looped(bias: np.ndarray) -> tuple[list[float], list[float], int | None]:
    """Rounds of dpo on a judge of quality and `bias` per unit of a feature: by round the quality of what is said, the
    mean of the feature, and when the monitor names it, which compares with the start by that judge and a fair one.
    """
    draw = np.random.default_rng(0)
    quality = draw.normal(size=(PROMPTS, 6))
    feature = draw.normal(size=(PROMPTS, 6))
    # Those who write much say little: the feature is paid for with quality.
    quality -= feature
    world = lab.bandit(quality + bias * feature)
    # What a round of dpo anchored at the policy before it adds, as test_game_learners shows: a tilt by r / beta.
    run = np.array([world.reference] + [world.tilted(2.0 / t) for t in range(1, ROUNDS + 1)])
    fair = lab.bradley_terry(quality)
    chances = {
        name: [np.einsum("pi,pij,pj->p", policy, said, world.reference) for policy in run]
        for name, said in (("proxy", world.preference), ("independent", fair))
    }
    named = next((t for t in range(1, ROUNDS + 1) if hacking({n: c[: t + 1] for n, c in chances.items()})), None)
    won = [float(c.mean()) for c in chances["independent"]]
    return won, [float((p * feature).sum(1).mean()) for p in run], named


def test_a_judge_that_likes_a_feature_is_gamed_and_the_monitor_names_it_in_time() -> None:
    won, feature, named = looped(np.full((PROMPTS, 1), 2.0))
    assert (np.diff(feature) > 0).all()
    assert (np.diff(won) < 0).all()
    assert named is not None
    # Named before five in a hundred of the wins are lost, and long before the loop is at its end.
    assert won[named] > 0.95 * won[0]
    assert named < ROUNDS / 2


def test_a_fair_judge_is_not_named_and_quality_rises() -> None:
    won, _, named = looped(np.zeros((PROMPTS, 1)))
    assert named is None
    assert (np.diff(won) > 0).all()
    assert won[-1] > won[0] + 0.2


def test_a_judge_whose_likings_are_its_own_is_gamed_less() -> None:
    """As strong a liking, drawn anew for each prompt, cannot be learnt as one: with it nothing is named."""
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (PROMPTS, 1))
    won, _, named = looped(2.0 * signs)
    assert named is None
    assert won[-1] > won[0] + 0.1

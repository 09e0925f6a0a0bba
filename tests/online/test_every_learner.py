"""Every learner runs on tables of exact expectations, in a bandit and in a language."""

import numpy as np
import pytest
import torch

from pluralign.lab import World, bandit, game, nash, play, sequences
from pluralign.lab.games import CYCLE
from pluralign.lab.self_play import pull
from pluralign.lab.table import Table
from pluralign.online import Judge, Learner, catalogue, learner
from pluralign.online.learner import GRADIENT

OPTIONS = {
    "sppo": {"eta": 1.0},
    "inpo": {"tau": 0.1, "eta": 1.0},
    "raft": {},
    "vpo": {"alpha": 0.0},
    "xpo": {"alpha": 0.0},
}
STEPS = {"learning_rate": 0.1, "natural": True}
WORLDS = {
    "bandit": bandit([0.0, 1.0, 0.5], reference=[0.5, 0.3, 0.2]),
    "language": sequences(lambda text: float(sum(text)) / 2, vocabulary=2, most=2),
}


def columns(world: World) -> dict[str, torch.Tensor]:
    ones = torch.ones(*world.reward.shape, 2, dtype=torch.float64)
    return {
        "greedy_reward": torch.tensor([0.5], dtype=torch.float64),
        "components": ones * torch.tensor(world.reward)[..., None],
        "multipliers": torch.tensor([0.3, 0.7], dtype=torch.float64),
    }


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("each", catalogue().values(), ids=lambda each: each.name)
def test_a_round_on_a_table_gives_a_policy(each: Learner, world: World) -> None:
    options = OPTIONS.get(each.name, {})
    needs = each.needs(**options) | each.wants(**options)
    extra = {name: value for name, value in columns(world).items() if name in needs}
    data = {"data": world.tilted(1.0)}
    group = 2 if each.name == "raft" else None  # the best of all there is would be certain
    run = play(
        each, world, rounds=1, laws=data, group=group, extra=lambda _: extra, **STEPS, **OPTIONS.get(each.name, {})
    )
    assert run[-1].sum() == pytest.approx(1.0)
    assert np.isfinite(run).all()
    moved = np.abs(run[-1] - world.reference).max()
    assert moved > 1e-6 or each.name in {"spa", "hypo"}  # nothing to learn from oneself, nor of being at the reference


@pytest.mark.parametrize("each", catalogue().values(), ids=lambda each: each.name)
def test_a_learner_says_what_it_is(each: Learner) -> None:
    assert each.equation.endswith(".")
    assert "Use it" in each.doc
    assert each.plan().stages
    assert each.judge in Judge
    assert abs(sum(each.plan().deploy.values()) - 1) < 1e-12


def at_equilibrium(each: str | Learner, world: World, tau: float, **options: float) -> float:
    return float(np.abs(pull(each, world, nash(world, tau), tau=tau, **options)).max())


@learner(paper="a common mistake", plan=GRADIENT)
def token_by_token(batch, *, tau: float = 0.1):  # type: ignore[no-untyped-def]
    """Nash-MD that weighs each token's log-prob with its own log-ratio."""
    own = (batch.tokens.logp - batch.tokens.anchor({"reference": 1.0})).detach()
    price = batch.tokens.total(own * batch.tokens.logp)
    return -batch.expect((batch.win_rate - 0.5) * batch.logp - tau * price)


def test_the_price_of_a_response_is_that_of_all_its_tokens() -> None:
    """In a language whose texts beat each other in a circle, what pulls at the equilibrium is a mistake."""
    texts = 7
    said = np.full((texts, texts), 0.5)
    for i in range(texts):
        for j in range(i + 1, texts):
            said[i, j] = CYCLE[i % 3][j % 3]
            said[j, i] = 1 - said[i, j]
    world = sequences(lambda text: 0.0, vocabulary=2, most=2, preference=said)
    assert np.abs(Table(world, {}).policy(Table(world, {}).logits(nash(world, 0.3))) - nash(world, 0.3)).max() < 1e-12
    assert at_equilibrium("nash_md", world, 0.3, mixing=0.0) < 1e-12
    assert at_equilibrium("online_ipo", world, 0.3) < 1e-12
    assert at_equilibrium("egpo", world, 0.3) < 1e-12
    assert at_equilibrium(token_by_token, world, 0.3) > 1e-3
    fitted = play("inpo", world, rounds=1, start=nash(world, 0.3), tau=0.3, eta=1.0)
    assert np.abs(fitted[1] - fitted[0]).max() < 1e-10


def test_the_equilibrium_is_where_the_learners_of_games_rest() -> None:
    world = game()
    for tau in (0.1, 1.0):
        for name in ("online_ipo", "egpo"):
            assert at_equilibrium(name, world, tau) < 1e-12
        assert at_equilibrium("nash_md", world, tau, mixing=0.0) < 1e-12
        assert at_equilibrium("nash_md", world, tau, mixing=0.5) > 1e-4  # against a mixture: a bias

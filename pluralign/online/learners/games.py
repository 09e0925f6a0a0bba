"""Learners of games: policies that play against themselves, for preferences that no reward explains.

h is the log-ratio to the anchor named. Step sizes bear the names of the papers, and `eta` is a step in some and the
inverse of one in others; each docstring says which.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from array_api_compat import array_namespace

from pluralign.likelihoods import expected, logistic, sigmoid, squared
from pluralign.likelihoods.numerics import Array, logsumexp, stop_gradient
from pluralign.objectives.objective import Positive, Share
from pluralign.online.learner import GRADIENT, PREVIOUS, REFERENCE, Learner, Plan, Stage, learner
from pluralign.online.samples import SampleBatch
from pluralign.online.selection import best


def gaps(values: Array) -> Array:
    """values_i - values_j, [B, K, K], from [B, K]."""
    return values[:, :, None] - values[:, None, :]


def total(values: Array) -> Array:
    """Sum over both responses of all pairs, [B], from [B, K, K]."""
    return array_namespace(values).sum(values, axis=(1, 2))


@learner(
    paper="Swamy et al. 2024, A Minimaximalist Approach to Reinforcement Learning from Human Feedback",
    arxiv="2401.04056",
    plan=GRADIENT,
)
def spo(batch: SampleBatch) -> Array:
    """-E (P(y > pi_t) - 1/2) log pi(y),  y ~ pi_t.

    Each draw is rewarded with its win rate against the others; any policy-gradient engine does the rest. Natural
    gradient steps of size eta are multiplicative weights: their mixture finds the minimax winner, the last policy of a
    cycle does not.

    Use it where preferences go in circles or people disagree, and no reward model is wanted.
    """
    return -batch.expect((batch.win_rate - 0.5) * batch.logp)


@learner(
    paper="Wu et al. 2024, Self-Play Preference Optimization for Language Model Alignment",
    arxiv="2405.00675",
)
def sppo(
    batch: SampleBatch,
    *,
    eta: Positive = 1e3,
    normaliser: Literal["half", "exact"] = "half",
    over: Literal["all", "ends", "hard ends"] = "all",
) -> Array:
    """E (h(y) - eta (P(y > pi_t) - 1/2))^2,  h = log pi / pi_t; the win rate counts y against itself too.

    eta is the step (implementations store 1 / eta as beta). The 1/2 stands for log Z / eta and is right for a small
    step only; normaliser='exact' puts log Z there, estimated from the draws, and is multiplicative weights exactly.
    over: all draws, or the best and the worst of them by win rate, half and half ('ends'), or these with win rates of
    1 and 0 ('hard ends').

    Use it on groups judged all against all; each log-ratio has its target, so neither can run away.
    """
    xp = array_namespace(batch.logp)
    wins, law = batch.mean_preference, batch.law
    gain = eta * wins
    log_z = logsumexp(gain + xp.log(xp.where(law > 0, law, xp.ones_like(law))), law > 0)[:, None]
    middle = eta / 2 if normaliser == "half" else log_z
    h = batch.log_ratio(PREVIOUS)
    if over == "all":
        return batch.expect(squared(h, gain - middle))
    top, bottom = best(replace(batch, reward=wins)), best(replace(batch, reward=-wins))
    high, low = (gain, gain) if over == "ends" else (eta * xp.ones_like(gain), 0 * gain)
    return xp.sum(top * squared(h, high - middle) + bottom * squared(h, low - middle), axis=1) / 2


@learner(
    paper="Rosset et al. 2024, Direct Nash Optimization",
    arxiv="2404.03715",
    plan=Plan((Stage(opponent=PREVIOUS),)),
    on_policy=False,
)
def dno(batch: SampleBatch, *, eta: Positive = 1.0) -> Array:
    """E cross-entropy(sigmoid(r(y) - r(y')), sigmoid(eta (h(y) - h(y')))),  r = P(y > pi_t), h = log pi / pi_t.

    eta is the inverse step. The label is soft and made of win rates, not the chance that y beats y': with the latter
    it would be iterative dpo, which finds no equilibrium of a cycle. Any pairs do; the win rates are against pi_t.

    Use it for batched self-improvement with a judge of pairs, a teacher's answers in the pool if there are any.
    """
    margin = eta * gaps(batch.log_ratio(PREVIOUS))
    label = sigmoid(gaps(batch.win_rate))
    return total(batch.pairs * expected(logistic(margin), logistic(-margin), label))


def _nash_md(*, tau: float, mixing: float) -> Plan:
    return Plan((Stage(opponent={"previous": 1 - mixing, "reference": mixing}, one_step=True),))


@learner(
    paper="Munos et al. 2023, Nash Learning from Human Feedback",
    arxiv="2312.00886",
    plan=_nash_md,
)
def nash_md(batch: SampleBatch, *, tau: Positive = 0.1, mixing: Share = 0.5) -> Array:
    """-E sg(P(y > y') - 1/2 - tau log pi(y)/pi_ref(y)) log pi(y),  y ~ pi, y' ~ pi^(1-mixing) pi_ref^mixing / Z.

    The log-ratio is that of the whole response: a token's own one would be a short-sighted KL. mixing=1 answers the
    reference, mixing=0 is self-play. Natural gradient steps of size eta with mixing = eta * tau are the paper's mirror
    descent; a constant step has a bias, steps of 2 / (tau (t + 2)) none.

    Use it for the equilibrium with a KL price when one pair a prompt can be judged.
    """
    drift = stop_gradient(batch.log_ratio(REFERENCE))
    return -batch.expect((batch.win_rate - 0.5 - tau * drift) * batch.logp)


@learner(
    paper="Zhang et al. 2024, Iterative Nash Policy Optimization",
    arxiv="2407.00617",
)
def inpo(batch: SampleBatch, *, tau: Positive = 0.0025, eta: Positive = 0.0075) -> Array:
    """E (h(y_w) - h(y_l) - 1 / (2 eta))^2,  h = log pi - (tau/eta) log pi_ref - (1 - tau/eta) log pi_t.

    eta > tau is the inverse step. Draws must be those of pi_t: other pairs move the answer. Its fixed point is the
    equilibrium at price tau for any constant eta; a step that is too large goes in circles.

    Use it for the equilibrium with a KL price from winners and losers alone.
    """
    h = batch.log_ratio({"reference": tau / eta, "previous": 1 - tau / eta})
    return total(batch.won * squared(gaps(h), 1 / (2 * eta)))


@learner(
    paper="Zhang et al. 2025, Improving LLM General Preference Alignment via Optimistic Online Mirror Descent",
    arxiv="2502.16852",
    plan=Plan((Stage(begin="auxiliary", keep="auxiliary"), Stage(redraw=False))),
)
def onpo(batch: SampleBatch, *, eta: Positive = 0.5) -> Array:
    """E (h(y_w) - h(y_l) - eta / 2)^2,  h = log pi - log of the auxiliary policy; fitted twice a round on one data set.

    First the auxiliary policy takes a step of size eta, then the policy one step further from it: optimism that what
    was said this round will be said again. The last policy finds the equilibrium of the game without a KL price.

    Use it where no reference shall hold the policy back and the last checkpoint is to be deployed.
    """
    h = batch.log_ratio({"auxiliary": 1.0})
    return total(batch.won * squared(gaps(h), eta / 2))


@learner(
    paper="Zhou et al. 2025, Extragradient Preference Optimization: Beyond Last-Iterate Convergence",
    arxiv="2503.08942",
    plan=Plan(
        (
            Stage(law=REFERENCE, opponent=PREVIOUS, keep="half", one_step=True),
            Stage(law=REFERENCE, opponent={"half": 1.0}, one_step=True),
        )
    ),
    on_policy=False,
)
def egpo(batch: SampleBatch, *, tau: Positive = 0.1) -> Array:
    """E (h(y) - h(y') - (P(y > q) - P(y' > q)) / tau)^2,  h = log pi / pi_ref; pairs of a fixed law, q the opponent.

    A gradient step against the policy itself gives the half-step policy; the step that counts starts from where the
    first did and plays against that one. The last policy converges linearly to the equilibrium at price tau.

    Use it for the same equilibrium as inpo without fitting each round to the end, and with noisy judges.
    """
    target = gaps(batch.win_rate) / tau
    return total(batch.pairs * squared(gaps(batch.log_ratio(REFERENCE)), target))


@learner(
    paper="Calandriello et al. 2024, Human Alignment of Large Language Models through Online Preference Optimisation",
    arxiv="2403.08635",
    plan=GRADIENT,
)
def online_ipo(batch: SampleBatch, *, tau: Positive = 0.1) -> Array:
    """E (h(y) - h(y') - (P(y > y') - 1/2) / tau)^2,  h = log pi / pi_ref; both drawn from the policy itself.

    The gradient sees the pairs as given. It rests where every pair of the policy's own draws says enough: at the
    equilibrium with price tau. (`online IPO 2` of the extragradient paper; egpo's loss is its `online IPO 1`.)

    Use it as the simplest learner of the equilibrium with a KL price.
    """
    target = (batch.known("preference") - 0.5) / tau
    return total(batch.pairs * squared(gaps(batch.log_ratio(REFERENCE)), target))


def accelerated(inner: Learner, *, alpha: float = 0.3) -> Learner:
    """An iterative learner with momentum: each round goes on by alpha times the way from the last fit to this one.

    pi_{t+1} = fit_{t+1} (fit_{t+1} / fit_t)^alpha / Z. The inner learner is anchored at the previous policy. He, Yuan
    and Gu 2024, Accelerated Preference Optimization (alpha as recalled).

    >>> from pluralign.online import direct
    >>> accelerated(direct("dpo")).plan(anchor="previous").deploy
    {'policy': 1.3, 'policy before': -0.3}
    """
    deploy = {"policy": 1 + alpha, "policy before": -alpha}
    made = learner(
        paper=f"He, Yuan and Gu 2024, Accelerated Preference Optimization; {inner.paper}",
        arxiv="2410.06293",
        judge=inner.judge,
        plan=lambda **options: Plan(inner.plan(**options).stages, deploy),
        group=inner.group,
        on_policy=inner.on_policy,
        needs=inner.needs,
        tokens=inner.tokens,
        weighing=inner.weighing,
    )(inner.function)
    made.name = f"accelerated({inner.name})"
    return made

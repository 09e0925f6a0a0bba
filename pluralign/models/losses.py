"""What a reward model is trained with: the objectives of language models, read as equations over rewards.

The log-probs of a `PolicyBatch` are rewards here, the reference is zero and every response has length one. So each
objective of the catalogue is a loss of a reward model too (`hinge_norm(beta=1)`, `debiased(simpo)`, ...); those below
are what only rewards have a use for.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from array_api_compat import array_namespace, device

from pluralign.likelihoods import davidson as davidson_model
from pluralign.likelihoods import logistic, pair_sum
from pluralign.likelihoods import outside_option as outside
from pluralign.likelihoods import plackett_luce as luce
from pluralign.likelihoods import rank_list as listed
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import Need, NonNegative, Objective, PolicyBatch, Positive, Rows, Scores, catalogue, objective
from pluralign.objectives.combine import parse

LISTS = (Rows.RANKINGS, Rows.PAIRS)


def reward(batch: PolicyBatch, **_: object) -> Scores:
    """The rewards themselves."""
    return Scores(batch.logp)


@objective(paper="Bradley and Terry 1952; Christiano et al. 2017", score=reward, uses={"margin"}, logistic=True)
def bradley_terry(batch: PolicyBatch) -> Array:
    """-log sigmoid(r_w - r_l - m),  m the row's margin, 0 where it has none.

    A margin pushes the two at least so far apart.

    Use it for pairs.
    """
    return logistic(Scores(batch.logp).margin - batch.margin)


@objective(
    paper="Wang et al. 2024, HelpSteer2-Preference", arxiv="2410.01257", score=reward, uses={"margin"}, relative=True
)
def scaled_bradley_terry(batch: PolicyBatch) -> Array:
    """|m| * -log sigmoid(r_w - r_l),  m the row's margin, 1 where it has none.

    A pair counts as often as its strength says; nothing is pushed apart further than the labels tell.

    Use it for strengths such as slightly, better, much better (1, 2, 3), in place of margins.
    """
    gap = Scores(batch.logp).margin
    return logistic(gap) * (abs(batch.margin) if hasattr(batch.margin, "dtype") else 1.0)


@objective(paper="Eisenstein et al. 2023, Helping or Herding? (as in common reward model trainers)", score=reward)
def centring(batch: PolicyBatch) -> Array:
    """(r_w + r_l)^2.

    Use it as a small part of a sum, bradley_terry + 0.01*centring: rewards then stay about zero.
    """
    both = Scores(batch.logp)
    return (both.chosen + both.rejected) ** 2


@objective(paper="Ouyang et al. 2022, InstructGPT", arxiv="2203.02155", score=reward, rows=LISTS, relative=True)
def all_pairs(batch: PolicyBatch) -> Array:
    """Mean over the pairs i above j of a ranking of -log sigmoid(r_i - r_j).

    Use it for rankings whose pairs should stay together in a batch; two responses are bradley_terry.
    """
    xp = array_namespace(batch.logp)
    above = xp.astype(batch.better, batch.logp.dtype)
    count = xp.sum(above, axis=(1, 2))
    return pair_sum(logistic, batch.logp, above) / xp.where(count == 0, xp.ones_like(count), count)


@objective(paper="Plackett 1975; Luce 1959", score=reward, rows=LISTS, relative=True)
def plackett_luce(batch: PolicyBatch, *, top: Annotated[int, Ge(1)] | None = None) -> Array:
    """sum over places k of log sum over j >= k of exp(r_j) - r_k, best first; top reads the first places only.

    Use it for rankings of three or more by one judge.
    """
    return luce(batch.logp, batch.better, top)


@objective(
    paper="RankList 2025 (as its abstract describes it)",
    score=reward,
    rows=LISTS,
    relative=True,
)
def rank_list(
    batch: PolicyBatch,
    *,
    skips: Annotated[int, Ge(1)] | None = None,
    least: NonNegative = 0.0,
    boundary: NonNegative = 0.0,
    grow: bool = False,
) -> Array:
    """sum over skips g of mean over i of -log sigmoid(r_i - r_i+g) + boundary * log(1 + sum of exp(r_j - r_i), i < j).

    Lists are best first. skips: the longest, all where None; grow lets them begin at 1 and lengthen over training.
    least: places whose ratings differ by less are not compared. In lists with noise of our own, all skips did no better
    than neighbours alone.

    Use it for long ordered lists, ratings by time say, where neighbours are nearly alike.
    """
    xp = array_namespace(batch.logp)
    k = batch.logp.shape[1]
    longest = k - 1 if skips is None else min(skips, k - 1)
    if grow:
        longest = max(1, round(longest * batch.progress))
    place = xp.arange(k, device=device(batch.logp))
    near = (place[None, :] - place[:, None]) <= longest
    apart = (batch.quality[:, :, None] - batch.quality[:, None, :]) >= least
    compared = batch.better & apart & near
    return listed(batch.logp, xp.astype(compared, batch.logp.dtype), boundary)


@objective(
    paper="Dong et al. 2023, SteerLM; Wang et al. 2024, HelpSteer2-Preference",
    arxiv="2410.01257",
    score=reward,
    needs={Need.RATINGS},
    rows=LISTS,
)
def regression(batch: PolicyBatch) -> Array:
    """Mean over responses of (r - rating)^2.

    Use it for ratings on one scale; the reward then has that scale's zero.
    """
    xp = array_namespace(batch.logp)
    there = batch.presence
    return xp.sum(there * (batch.logp - batch.known("rating")) ** 2, axis=1) / xp.sum(there, axis=1)


@objective(paper="Davidson 1970", score=reward, uses={"margin", "tie"}, relative=True)
def davidson(batch: PolicyBatch, *, nu: Positive = 1.0) -> Array:
    """-log P;  P(win) : P(loss) : P(tie) = exp(z / 2) : exp(-z / 2) : nu,  z = r_w - r_l - m.

    Use it for pairs with ties where nu is known; ties(bradley_terry) is Rao and Kupper's model of the same, and the
    class `Ties` learns nu or the threshold with the rewards.
    """
    xp = array_namespace(batch.logp)
    gap = Scores(batch.logp).margin - batch.margin
    tie = 0 * gap if batch.tie is None else batch.tie
    return davidson_model(gap, tie, xp.log(0 * gap + nu))


@objective(paper="McFadden 1974; Rho 2025 (contextual quality)", score=reward, rows=LISTS)
def outside_option(batch: PolicyBatch) -> Array:
    """-log of exp(r_i) / (1 + sum over j of exp(r_j)) for the response chosen, of 1 / (...) where none was good enough.

    Chosen is the response of sign +1; a row of signs -1 turned all of them down. The reward has a zero: above it a
    response is good enough, which pairs alone cannot tell.

    Use it where judges could say "both bad" or "none".
    """
    return outside(batch.logp, batch.sign > 0, None if batch.mask is None else batch.mask)


@objective(paper="Berkson 1944 (logistic regression)", score=reward, rows=(Rows.UNPAIRED, Rows.PAIRS))
def acceptable(batch: PolicyBatch) -> Array:
    """Mean over responses of -log sigmoid(sign * r): P(good) = sigmoid(r).

    Use it for thumbs.
    """
    xp = array_namespace(batch.logp)
    there = batch.presence
    return xp.sum(there * logistic(batch.sign * batch.logp), axis=1) / xp.sum(there, axis=1)


@objective(
    paper="Kiryo et al. 2017, Positive-Unlabeled Learning with Non-Negative Risk Estimator",
    arxiv="1703.00593",
    score=reward,
    needs={Need.WHOLE_STEP},
    rows=(Rows.UNPAIRED,),
)
def positive_unlabelled(batch: PolicyBatch, *, prior: Annotated[float, Ge(0)] = 0.5, correct: bool = True) -> Array:
    """prior * E_P[l(r)] + max(0, E_U[l(-r)] - prior * E_P[l(-r)]),  l = -log sigmoid.

    Responses of sign +1 are good; those of -1 were not looked at, and `prior` of them are good all the same. Without
    `correct` the bracket may be negative: unbiased, and overfitted by models that can memorise.

    Use it where only praise is recorded: likes, purchases, answers that were kept.
    """
    xp = array_namespace(batch.logp)
    r, good = batch.logp[:, 0], xp.astype(batch.sign[:, 0] > 0, batch.logp.dtype)
    weight = xp.ones_like(r) if batch.weight is None else batch.weight
    of_good, of_rest = weight * good, weight * (1 - good)

    def mean(values: Array, share: Array) -> Array:
        total = xp.sum(share)
        return xp.sum(share * values) / xp.where(total == 0, xp.ones_like(total), total)

    bad = mean(logistic(-r), of_rest) - prior * mean(logistic(-r), of_good)
    if correct:
        bad = xp.where(bad > 0, bad, 0 * bad)
    return 0 * r + prior * mean(logistic(r), of_good) + bad


def losses() -> dict[str, Objective]:
    """The losses of this page by name."""
    return {name: value for name, value in sorted(globals().items()) if isinstance(value, Objective)}


def find_loss(text: str) -> Objective:
    """The loss of this name, any objective of the catalogue, or an expression of both. Raises `OptionError`.

    >>> find_loss("smoothed(bradley_terry)").name, find_loss("bradley_terry + 0.1*regression").name
    ('smoothed(bradley_terry)', 'bradley_terry + 0.1*regression')
    """
    return parse(text, catalogue() | losses())

"""Objectives in which the loss of a row depends on the other rows of the optimizer step."""

from __future__ import annotations

from typing import Any, Literal

from array_api_compat import array_namespace, device

from pluralign.likelihoods import box_cox, expected, logistic, sigmoid
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import FlipRate, Need, NonNegative, Positive, Rows, Share, objective
from pluralign.objectives.reference import dpo

STEP = {Need.REFERENCE, Need.WHOLE_STEP}
ONE_WAY = {"probability": "its statistics are those of a step whose labels all point one way"}
NO_ROWS = ONE_WAY | {"weight": "its terms belong to no single row"}


def _sorted_loss(upper: Array, lower: Array, beta: Array | float, smoothing: float) -> Array:
    xp = array_namespace(upper)
    z = beta * (xp.sort(upper) - xp.sort(lower))
    return expected(logistic(z), logistic(-z), 1 - smoothing)


AOT: dict[str, Any] = {
    "paper": "Melnyk et al. 2024, Distributional Preference Alignment of LLMs via Optimal Transport",
    "arxiv": "2406.05882",
    "score": scores.log_ratio,
    "needs": STEP,
    "refuses": NO_ROWS | {"beta": "its terms belong to no single row"},
}


@objective(
    **AOT,
    reduces={"one pair a step": "dpo, and cdpo with label_smoothing"},
)
def aot(batch: PolicyBatch, *, beta: Positive = 0.01, label_smoothing: FlipRate = 0.0) -> Array:
    """mean over ranks i of -log sigmoid(beta * (a_(i) - b_(i))),  a = margins under pi, b under pi_ref, each sorted.

    The whole distribution of margins is moved above the reference's, not each pair above its own. One pair alone is
    dpo, with label_smoothing cdpo.

    Use it with large steps, where single pairs are noisy.
    """
    ours = batch.total_logp.margin
    return _sorted_loss(ours, ours - batch.log_ratio.margin, beta, label_smoothing)


@objective(
    **AOT,
    reduces={"one pair a step": "dpo, and cdpo with label_smoothing"},
)
def aot_unpaired(batch: PolicyBatch, *, beta: Positive = 0.01, label_smoothing: FlipRate = 0.0) -> Array:
    """mean over ranks i of -log sigmoid(beta * (a_(i) - b_(i))),  a = log-ratios of chosen, b of rejected, sorted.

    As aot, between all preferred and all other responses of the step: which pairs with which does not matter.

    Use it with large steps where preferred and other responses answer unlike prompts.
    """
    return _sorted_loss(batch.log_ratio.chosen, batch.log_ratio.rejected, beta, label_smoothing)


def _relative_needs(options: dict[str, Any]) -> set[Need]:
    return STEP | ({Need.PROMPT_EMBEDDING} if options["weighting"] == "prompt_similarity" else set())


@objective(
    paper="Yin et al. 2024, Relative Preference Optimization: Enhancing LLM Alignment through Contrasting Responses",
    arxiv="2402.10958",
    score=scores.log_ratio,
    needs=_relative_needs,
    rows=(Rows.PAIRS, Rows.UNPAIRED),
    refuses=NO_ROWS,
    reduces={"diagonal=1": "dpo", "one pair a step": "dpo"},
)
def rpo_relative(
    batch: PolicyBatch,
    *,
    beta: Positive = 0.1,
    weighting: Literal["diagonal", "prompt_similarity"] = "diagonal",
    diagonal: Share = 0.8,
    temperature: Positive = 0.5,
) -> Array:
    """mean over i, j of -log sigmoid(beta * omega_ij * (h_w,i - h_l,j)): every chosen against every rejected.

    h = log pi / pi_ref. prompt_similarity: omega_i = softmax_j(-(1 - cosine of prompts i and j) / temperature), inside
    the sigmoid as in the paper. diagonal needs no embeddings: the pairs themselves weigh `diagonal`, all others
    together the rest, omega 1. One pair alone is dpo. Also for responses labelled good or bad.

    Use it where prompts resemble each other, or where good and bad answers were collected apart.
    """
    xp = array_namespace(batch.logp)
    h = (beta * batch.log_ratio).values
    n, good, bad = h.shape[0], h[:, 0], h[:, -1]
    own = xp.eye(n, device=device(h)) > 0
    meets = own | True if h.shape[1] > 1 else (batch.sign > 0) & (batch.sign < 0).T
    z = good[:, None] - bad[None, :]
    share = xp.astype(meets, h.dtype)
    if weighting == "prompt_similarity":
        z = z * _similarity(batch, meets, temperature)
    elif h.shape[1] > 1 and n > 1:
        diagonals = xp.astype(own, h.dtype)
        share = n * (diagonal * diagonals + (1 - diagonal) / (n - 1) * (1 - diagonals))
    # Rows are averaged over afterwards: the sum of all is n times the mean over the pairs that meet.
    met = xp.clip(xp.sum(xp.astype(meets, h.dtype)), min=1.0)
    return n * xp.sum(share * logistic(z), axis=1) / met


def _similarity(batch: PolicyBatch, meets: Array, temperature: float) -> Array:
    xp, e = array_namespace(batch.logp), batch.known("prompt_embedding")
    e = e / xp.clip(xp.sqrt(xp.sum(e**2, axis=1)), min=1e-12)[:, None]
    closeness = xp.exp((e @ e.T - 1) / temperature) * xp.astype(meets, e.dtype)
    return closeness / xp.clip(xp.sum(closeness, axis=1), min=1e-30)[:, None]


@objective(
    paper="Zhang et al. 2025, noise-aware preference optimisation for multimodal models (NaPO)",
    arxiv="2503.17928",
    score=scores.log_ratio,
    needs=STEP,
    refuses=ONE_WAY,
    reduces={"q near 0": "dpo", "q of 1": "the mean absolute error"},
)
def napo(
    batch: PolicyBatch, *, beta: Positive = 0.1, scale: Positive = 1.0, per: Literal["sequence", "token"] = "sequence"
) -> Array:
    """(1 - p^q) / q,  p = sigmoid(beta * (h_w - h_l)),  q = 2 (1 - sigmoid(scale * mean margin of the step)), sg.

    Between dpo (q -> 0) and the mean absolute error 1 - p (q = 1), the more robust the less the step's pairs are told
    apart: pairs that look mislabelled pull less. q lies in [0.001, 1]; per says which mean margin, of sums or means.

    Use it on pairs labelled by machine.
    """
    xp, fixed = array_namespace(batch.logp), batch.detached
    margin = (fixed.mean_log_ratio if per == "token" else fixed.log_ratio).margin
    q = xp.clip(2 * sigmoid(-scale * fixed.mean(margin)), min=1e-3, max=1.0)
    return box_cox((beta * batch.log_ratio).margin, q)


@objective(
    paper="Wu et al. 2024, alpha-DPO: Adaptive Reward Margin is What Direct Preference Optimization Needs",
    arxiv="2410.10148",
    score=scores.mean_logp,
    needs=STEP | {Need.RUNNING},
    uses={"margin"},
    refuses=ONE_WAY,
    tracks=lambda batch, **_: batch.mean_log_ratio.margin,
    reduces={"alpha=0": "simpo(beta=2.5, gamma=1.5)"},
)
def alpha_dpo(batch: PolicyBatch, *, beta: Positive = 2.5, gamma: NonNegative = 1.5, alpha: NonNegative = 0.2) -> Array:
    """simpo(beta, gamma + beta * alpha * sg[z]),  z = standardised (mean log pi / pi_ref of y_w minus that of y_l).

    Pairs that have already moved apart must move further, others less. z uses running mean and deviation over steps
    (momentum 0.9). alpha 0 is simpo.

    Use it where simpo works and one margin for all pairs seems crude.
    """
    moved = batch.detached.mean_log_ratio.margin
    usual = batch.moments(moved)
    z = (moved - usual.mean) / (usual.std + 1e-8)
    return logistic((beta * batch.mean_logp).margin - gamma - beta * alpha * z - batch.margin)


@objective(
    paper="Wu et al. 2024, beta-DPO: Direct Preference Optimization with Dynamic beta",
    arxiv="2407.08639",
    score=scores.log_ratio,
    needs=STEP | {Need.RUNNING, Need.RANDOM},
    refuses=ONE_WAY,
    tracks=lambda batch, **_: batch.log_ratio.margin,
    reduces={"sensitivity=0, keep=1": "dpo"},
)
def beta_dpo(
    batch: PolicyBatch, *, beta: Positive = 0.1, sensitivity: NonNegative = 0.6, keep: Positive = 0.8
) -> Array:
    """dpo(beta_b) over the pairs kept,  beta_b = beta * (1 + sensitivity * (mean margin kept - running mean)), sg.

    A share `keep` of the step's pairs stays, drawn with chance exp(-z^2 / 2) of their standardised margin h_w - h_l, so
    outliers seldom take part; beta grows where the step's margins are above the usual. It is never below 0.001.
    sensitivity 0 and keep 1 is dpo. In evaluation all pairs stay.

    Use it on pairs of uneven quality.
    """
    xp = array_namespace(batch.logp)
    margin = batch.detached.log_ratio.margin
    usual = batch.moments(margin)
    kept = xp.ones_like(margin)
    if batch.uniform is not None and keep < 1:
        # The smallest exponential waiting times of rate exp(-z^2 / 2): a draw without replacement.
        wait = xp.log(-xp.log1p(-batch.uniform)) + ((margin - usual.mean) / (usual.std + 1e-8)) ** 2 / 2
        kept = xp.where(xp.argsort(xp.argsort(wait)) < max(1, round(keep * margin.shape[0])), kept, 0 * kept)
    whole = xp.ones_like(kept) if batch.weight is None else batch.weight
    part = kept * whole
    lead = xp.sum(part * margin) / xp.sum(part) - usual.mean
    beta_b = xp.clip(beta * (1 + sensitivity * lead), min=1e-3)
    return kept * (xp.sum(whole) / xp.sum(part)) * dpo.function(batch, beta=beta_b)

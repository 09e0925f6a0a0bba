"""Objectives on K responses to one prompt, ranked or rated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge
from array_api_compat import array_namespace

from pluralign.likelihoods import choice, hinge, lambda_weights, log_softmax, logistic, pair_sum, plackett_luce
from pluralign.likelihoods.numerics import Array, logsumexp
from pluralign.objectives import scores
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import Need, NonNegative, Positive, Rows, objective
from pluralign.objectives.values import Scores

LISTS = (Rows.RANKINGS, Rows.PAIRS)


@objective(
    paper="Rafailov et al. 2023, Direct Preference Optimization, appendix A.3",
    arxiv="2305.18290",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    rows=LISTS,
    relative=True,
    reduces={"two responses": "dpo", "top=1": "infonca(beta=0.1)"},
)
def pl_dpo(batch: PolicyBatch, *, beta: Positive = 0.1, top: Annotated[int, Ge(1)] | None = None) -> Array:
    """sum over places k of log sum over j >= k of exp(s_j) - s_k,  s = beta * log pi / pi_ref, best first.

    The likelihood of a whole ranking under Plackett-Luce; two responses are dpo. top reads only the first places.
    Tied responses are each compared with those below them, not with each other.

    Use it for rankings of three or more responses by one judge.
    """
    return plackett_luce((beta * batch.log_ratio).values, batch.better, top)


@objective(
    paper="Liu et al. 2024, LiPO: Listwise Preference Optimization through Learning-to-Rank",
    arxiv="2402.01878",
    score=scores.log_ratio,
    needs={Need.REFERENCE},
    rows=LISTS,
    relative=True,
    reduces={"two responses": "dpo times a constant"},
)
def lipo(batch: PolicyBatch, *, beta: Positive = 0.05) -> Array:
    """sum over pairs r_i > r_j of Delta_ij * -log sigmoid(s_i - s_j),  s = beta * log pi / pi_ref.

    Delta: what exchanging the two would change in the discounted gain of the present ranking (LambdaRank), no gradient
    through it. Ratings r should lie in [0, 1]; ranks are put there in equal steps.

    Use it for many rated responses, where the order at the top matters most.
    """
    return _lambda_loss(batch, beta * batch.log_ratio, beta * batch.detached.log_ratio)


def _lambda_loss(batch: PolicyBatch, score: Scores, fixed: Scores) -> Array:
    xp = array_namespace(batch.logp)
    delta = lambda_weights(fixed.values, batch.quality, batch.presence)
    return pair_sum(logistic, score.values, xp.where(batch.better, delta, 0 * delta))


def _tree_score(batch: PolicyBatch, *, beta: Array | float, **_: Any) -> Scores:
    return beta * batch.over_tokens(batch.known("tokens").known("reward_weight")[0]).log_ratio


@objective(
    paper="Liao et al. 2024, TPO: Aligning Large Language Models with Multi-branch & Multi-step Preference Trees",
    arxiv="2410.12854",
    score=_tree_score,
    needs={Need.REFERENCE, Need.TOKENS, Need.STEP_WEIGHTS},
    rows=LISTS,
    reduces={"weights of 1": "lipo(beta=0.1)"},
)
def tree_tpo(batch: PolicyBatch, *, beta: Positive = 0.1) -> Array:
    """lipo(beta) on s = beta * sum over steps k of a_k * (log pi / pi_ref of step k).

    Branches of a reasoning tree as a rated list, each step weighted by a_k: tokens.reward_weight, the same for all
    tokens of a step. As described by the authors' code, a is 1 + the cosine between the step's mean hidden state and
    the best branch's at the same step, which is what align computes, an assistant's turn being a step; their two
    versions differ, so other weights are yours to give. All 1 is lipo.

    Use it for sampled solutions with values from a verifier, where branches share their beginnings.
    """
    return _lambda_loss(batch, _tree_score(batch, beta=beta), _tree_score(batch.detached, beta=beta))


@objective(
    paper="Yuan et al. 2023, RRHF: Rank Responses to Align Language Models with Human Feedback",
    arxiv="2304.05302",
    score=lambda batch, *, length_power, **_: Scores(batch.logp / batch.known_length**length_power),
    rows=LISTS,
)
def rrhf(batch: PolicyBatch, *, length_power: NonNegative = 1.0, sft_weight: NonNegative = 1.0) -> Array:
    """sum over pairs r_i > r_j of max(0, s_j - s_i) - sft_weight * log pi(y_1),  s = log pi / |y|^length_power.

    Ranks by likelihood, silent on pairs already in order, and imitates the best response (sum over its tokens).

    Use it for several rated responses without memory for a reference; the imitation term is what keeps it steady.
    """
    xp = array_namespace(batch.logp)
    ordered = xp.astype(batch.better, batch.logp.dtype)
    ranking = pair_sum(lambda z: hinge(z, 0.0), batch.logp / batch.known_length**length_power, ordered)
    return ranking - sft_weight * batch.logp[:, 0]


@objective(
    paper="Song et al. 2023, Preference Ranking Optimization for Human Alignment",
    arxiv="2306.17492",
    score=scores.mean_logp,
    rows=LISTS,
    reduces={"two responses, sft_weight=0": "-log sigmoid of the gap of ratings times that of mean log-probs"},
)
def pro(batch: PolicyBatch, *, sft_weight: NonNegative = 0.05) -> Array:
    """sum over k of log(exp(s_k T_kk) + sum over i > k of exp(s_i T_ki)) - s_k T_kk - sft_weight (K-1)^2 log pi(y_1).

    s is the mean log-prob, T_ki = r_k - r_i the gap of ratings, T_kk the largest of them: each response against those
    below it, the more sharply the wider the gap. Two responses: -log sigmoid((r_1 - r_2) * (s_1 - s_2)).

    Use it for two to five rated responses without a reference.
    """
    xp = array_namespace(batch.logp)
    s, rating, better = batch.mean_logp.values, batch.quality, batch.better
    gap = (rating[:, :, None] - rating[:, None, :]) * xp.astype(better, s.dtype)
    own = s * xp.max(gap, axis=2)
    # Column 0: the response itself; then those below it.
    against = xp.concat((own[:, :, None], s[:, None, :] * gap), axis=2)
    there = xp.concat((xp.any(better, axis=2)[:, :, None], better), axis=2)
    each = xp.where(there[:, :, 0], logsumexp(against, there | (there[:, :, :1] == 0)) - own, 0 * own)
    others = xp.sum(batch.presence, axis=1) - 1
    return xp.sum(each, axis=1) - sft_weight * others**2 * batch.logp[:, 0]


def _target(batch: PolicyBatch, targets: str, temperature: float, smoothing: float = 0.0) -> Array:
    """The distribution over responses that the judgements ask for, [B, K]."""
    xp, there = array_namespace(batch.logp), batch.presence
    if targets == "ratings":
        return there * xp.exp(log_softmax(batch.known("rating") / temperature, there > 0))
    first = xp.astype(xp.cumulative_sum(xp.ones_like(there), axis=1) == 1, there.dtype)
    others = (there - first) / (xp.sum(there, axis=1) - 1)[:, None]
    return (1 - smoothing) * first + smoothing * others


def _target_needs(options: dict[str, Any]) -> set[Need]:
    return {Need.REFERENCE} | ({Need.RATINGS} if options["targets"] == "ratings" else set())


Targets = Literal["labels", "ratings"]


@objective(
    paper="Ji et al. 2024, Towards Efficient Exact Optimization of Language Model Alignment",
    arxiv="2402.00856",
    score=scores.log_ratio,
    needs=_target_needs,
    rows=(Rows.PAIRS, Rows.RANKINGS),
    relative=True,
)
def exo(
    batch: PolicyBatch,
    *,
    beta: Positive = 0.1,
    label_smoothing: Positive = 1e-3,
    targets: Targets = "labels",
    temperature: Positive = 1.0,
) -> Array:
    """sum_i q_i * (log q_i - log p_i),  q = softmax(beta * log pi / pi_ref),  p what the judgements ask for.

    Reverse KL between the choices the policy implies and those wanted, the direction that seeks modes. p is
    1 - label_smoothing for the preferred response, or softmax(rating / temperature). TRL calls the pair `exo_pair`.

    Use it with ratings of several responses, or where dpo spreads its probability too widely.
    """
    xp = array_namespace(batch.logp)
    there = batch.presence > 0
    log_q = log_softmax((beta * batch.log_ratio).values, there)
    if targets == "ratings":
        log_p = log_softmax(batch.known("rating") / temperature, there)
    else:
        wanted = _target(batch, targets, temperature, label_smoothing)
        log_p = xp.log(xp.where(there, wanted, xp.ones_like(wanted)))
    return xp.sum(batch.presence * xp.exp(log_q) * (log_q - log_p), axis=1)


@objective(
    paper="Chen et al. 2024, Noise Contrastive Alignment of Language Models with Explicit Rewards",
    arxiv="2402.05369",
    score=scores.log_ratio,
    needs=_target_needs,
    rows=(Rows.PAIRS, Rows.RANKINGS),
    relative=True,
    reduces={"targets='labels'": "dpo(beta=0.01)"},
)
def infonca(
    batch: PolicyBatch, *, beta: Positive = 0.01, targets: Targets = "labels", temperature: Positive = 1.0
) -> Array:
    """-sum_i p_i * log softmax_i(s),  s = beta * log pi / pi_ref,  p = softmax(rating / temperature) or the label.

    One choice among K, soft where ratings are. Two responses and a hard label are dpo.

    Use it for responses with ratings on one scale.
    """
    target = _target(batch, targets, temperature)
    return choice((beta * batch.log_ratio).values, target, batch.presence > 0)


@objective(
    paper="Chen et al. 2024, Noise Contrastive Alignment of Language Models with Explicit Rewards",
    arxiv="2402.05369",
    score=scores.log_ratio,
    needs=_target_needs,
    rows=(Rows.PAIRS, Rows.RANKINGS),
)
def nca(
    batch: PolicyBatch, *, beta: Positive = 0.01, targets: Targets = "labels", temperature: Positive = 1.0
) -> Array:
    """-sum_i (p_i * log sigmoid(s_i) + log sigmoid(-s_i) / K),  s = beta * log pi / pi_ref,  p as in infonca.

    Each response is told from noise by itself, so the preferred one ends above the reference and does not fall with
    the others. TRL calls the pair `nca_pair`. (The form for K responses as recalled.)

    Use it where dpo lowers the likelihood of preferred responses.
    """
    xp, there = array_namespace(batch.logp), batch.presence
    score = (beta * batch.log_ratio).values
    target = _target(batch, targets, temperature)
    each = target * logistic(score) + logistic(-score) / xp.sum(there, axis=1)[:, None]
    return xp.sum(there * each, axis=1)

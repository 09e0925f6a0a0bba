"""What training will do to responses, or did: slopes, separability, where the mass went. numpy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pluralign.evaluate.figures import Array


def gradient_ratio(logp: Array, *, chosen_pull: float = 1.0, rejected_pull: float = 1.0) -> Array:
    """log of |dloss/dpi(y_l)| over |dloss/dpi(y_w)| for pairs [N, 2], preferred response first; [N].

    pull: how much each side's log-prob counts in the margin (flex_dpo's two betas, dpo_shift's 1 and lambda). Under
    dpo the ratio is pi(y_w) / pi(y_l): as the rejected response becomes unlikely, pushing it down further takes over.

    Source: Yan et al. 2024, 3D-Properties: Identifying Challenges in DPO and Charting a Path Forward (arXiv
    2406.07327), corollary 1.

    >>> np.exp(gradient_ratio(np.log([[0.3, 0.05]]))).round(6).tolist()
    [6.0]
    """
    return np.asarray(logp[:, 0] - logp[:, 1] + np.log(rejected_pull / chosen_pull))


def distinguishability(chosen: Array, rejected: Array, groups: Sequence[object] | None = None) -> dict[object, float]:
    """How far apart preferred and other responses lie in embedding space, by group of rows; 0 if not at all.

    chosen, rejected: embeddings [N, H]. groups: behaviour, topic or annotator of each row [N]; one group if left out.
    The distance between the two sides' means, over the root mean square distance of embeddings to their own side's
    mean. Behaviours of high distinguishability are learnt first and can drown the others; the scale is ours.

    Source: Im & Li 2024, Understanding the Learning Dynamics of Alignment with Human Feedback (arXiv 2403.18742).

    >>> near, far = np.array([[0.0], [1.0]]), np.array([[10.0], [11.0]])
    >>> distinguishability(far, near)
    {None: 20.0}
    """
    labels = [None] * len(chosen) if groups is None else list(groups)
    found: dict[object, float] = {}
    for group in dict.fromkeys(labels):
        inside = np.array([label == group for label in labels])
        sides = [side[inside] for side in (chosen, rejected)]
        gap = np.linalg.norm(sides[0].mean(0) - sides[1].mean(0))
        spread = np.sqrt(np.mean([((side - side.mean(0)) ** 2).sum(1).mean() for side in sides]))
        found[group] = float(gap / spread) if spread > 0 else (float("inf") if gap > 0 else 0.0)
    return found


def peak_overlap(reward: Array, ref_logp: Array) -> Array:
    """log pi_ref of the best of K responses minus that of the likeliest, [N]; both [N, K].

    0 where the reward's peak is the reference's mode. Far below 0, it lies where the reference has little mass: there
    on-policy samples and objectives that push bad responses down pay, and imitation of the best is slow.

    Source: Tajwar et al. 2024, Preference Fine-Tuning of LLMs Should Leverage Suboptimal, On-Policy Data (arXiv
    2404.14367).

    >>> peak_overlap(np.array([[0.0, 1.0]]), np.log([[0.999, 0.001]])).round(2).tolist()
    [-6.91]
    """
    best = np.take_along_axis(ref_logp, reward.argmax(1)[:, None], axis=1)[:, 0]
    return np.asarray(best - ref_logp.max(1))


def mass_moved(logp: Array, ref_logp: Array) -> Array:
    """Total variation between policy and reference over K responses of each prompt, [N], in [0, 1]; both [N, K].

    The K responses share all probability here, so that a whole support or a sample of it can be given.

    >>> mass_moved(np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])).round(6).tolist()
    [0.4]
    """
    shares = [np.exp(values - np.logaddexp.reduce(values, axis=1)[:, None]) for values in (logp, ref_logp)]
    return np.asarray(np.abs(shares[0] - shares[1]).sum(1) / 2)


def locality(in_scope: float, out_of_scope: float) -> float:
    """S_overall = (S_in + 1 - S_out) / 2: following a piece of advice where it applies, and only there (C3PO).

    Shares in [0, 1] of prompts on which the advice was followed.

    >>> locality(1.0, 0.0)
    1.0
    """
    return (in_scope + 1 - out_of_scope) / 2

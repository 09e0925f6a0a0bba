"""Which pairs will make the preferred response less likely, told before training from hidden states (CHES)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pluralign.evaluate.figures import Array
from pluralign.feedback.feedback import Feedback
from pluralign.objectives import dpo
from pluralign.train.data import prepare

if TYPE_CHECKING:
    from pluralign.policy.batch import TokenBatch
from pluralign.policy.forward import padded_pass


def ches_scores(chosen: Array, rejected: Array) -> Array:
    """<S_w, S_l> - |S_w|^2 of hidden states summed (or averaged) over each response, [N, H] both; [N].

    >>> ches_scores(np.array([[1.0, 2.0]]), np.array([[-2.0, 1.0]])).tolist()
    [-5.0]
    """
    return np.asarray((chosen * rejected).sum(-1) - (chosen**2).sum(-1))


def ches(
    feedback: Feedback,
    model: Any,
    tokenizer: Any = None,
    *,
    per_token: bool = False,
    max_length: int | None = 1024,
    batch_size: int = 8,
    progress: Callable[[int], None] = lambda _: None,
) -> Array:
    """The centred hidden embedding similarity of every pair, [N]; not a number where a row is no usable pair.

    The higher, the more DPO lowers the likelihood of the preferred response itself: both responses look alike to the
    model. model: the one training starts from, loaded (with its tokenizer) or the name of one. per_token: means of
    hidden states instead of sums, which long responses dominate. Keep the rows of low scores with
    `pluralign.feedback.recipes.selective_dpo(feedback, scores, ordered=False)`.

    Source: Razin et al. 2024, Unintentional Unalignment: Likelihood Displacement in DPO (arXiv 2410.08847).
    """
    import torch

    from pluralign.policy.batch import collate
    from pluralign.policy.encode import Encoder
    from pluralign.policy.load import load

    if tokenizer is None:
        model, tokenizer = load(model)
    rows = prepare(feedback.without("margin", "beta"), dpo, Encoder(tokenizer, max_length=max_length)).rows
    found = np.full(len(feedback), np.nan)
    training = model.training
    model.eval()
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        tokens = collate([row.encoded for row in part], pad_id=tokenizer.pad_token_id).to(model.device)
        with torch.no_grad():
            sums = response_states(model, tokens)
        if per_token:
            sums = sums / tokens.length[..., None]
        chosen, rejected = sums.double().cpu().numpy().transpose(1, 0, 2)
        found[[row.index for row in part]] = ches_scores(chosen, rejected)
        progress(start + len(part))
    model.train(training)
    return found


def response_states(model: Any, tokens: TokenBatch) -> Any:
    """Sums of last-layer hidden states over the positions that predict each response's tokens, [B, K, H]."""
    hidden = padded_pass(model, tokens, hidden=True).hidden_states[-1]
    # Position t - 1 predicts token t.
    predicts = tokens.response_mask[:, 1:].to(hidden.dtype)[..., None]
    b, k = tokens.shape
    return (hidden[:, :-1] * predicts).sum(1).view(b, k, -1)

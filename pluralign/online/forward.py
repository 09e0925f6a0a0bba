"""What the learning policy gives for a learner to differentiate: log-probs, values and exact divergences of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pluralign.policy.batch import TokenBatch
from pluralign.policy.forward import padded_pass
from pluralign.policy.logprobs import logprobs


@dataclass(frozen=True)
class Numbers:
    """Numbers at the response tokens of B rows of K responses, [B, K, T], zero elsewhere.

    logp: log pi(token). value: what the value head expects from here on, before the token is seen. kl: KL(pi || ref) of
    the next-token distributions; reference_kl: KL(ref || pi). surplus: log sum of pi^(1 + far) / frozen^far over them.
    """

    logp: torch.Tensor
    value: torch.Tensor | None = None
    kl: torch.Tensor | None = None
    reference_kl: torch.Tensor | None = None
    surplus: torch.Tensor | None = None


class ValueHead(torch.nn.Module):
    """A linear value of hidden states, zero at the start.

    >>> ValueHead(4)(torch.ones(2, 3, 4)).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.line = torch.nn.Linear(hidden, 1)
        torch.nn.init.zeros_(self.line.weight)
        torch.nn.init.zeros_(self.line.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Values [N, T] of states [N, T, H]."""
        values: torch.Tensor = self.line(states.to(self.line.weight.dtype))[..., 0]
        return values


def numbers(
    model: Any,
    tokens: TokenBatch,
    *,
    head: ValueHead | None = None,
    reference: Any = None,
    extrapolate: tuple[Any, float] | None = None,
) -> Numbers:
    """A forward pass over samples; the gradient flows if it is enabled.

    head: asks for values. reference: asks for exact divergences, and takes whole next-token distributions of both
    models at once. extrapolate: (a frozen model, how far beyond it), asks for `surplus` and takes them too. With none
    of these, prompts are shared between the responses of a row and nothing is padded.
    """
    if head is None and reference is None and extrapolate is None:
        return Numbers(logprobs(model, tokens).token_logp)
    b, k = tokens.shape
    mask = tokens.response_mask
    output = padded_pass(model, tokens, hidden=head is not None)
    rows, places = mask[:, 1:].nonzero(as_tuple=True)
    targets = tokens.input_ids[rows, places + 1]

    def spread(values: torch.Tensor) -> torch.Tensor:
        whole = torch.zeros(mask.shape, dtype=values.dtype, device=values.device)
        return whole.index_put((rows, places + 1), values).view(b, k, -1)

    log_p = torch.log_softmax(output.logits[rows, places].float(), -1)
    value = divergence = backwards = surplus = None
    if head is not None:
        value = spread(head(output.hidden_states[-1])[rows, places])
    if reference is not None:
        with torch.no_grad():
            log_q = torch.log_softmax(padded_pass(reference, tokens).logits[rows, places].float(), -1)
        divergence = spread((log_p.exp() * (log_p - log_q)).sum(-1))
        backwards = spread((log_q.exp() * (log_q - log_p)).sum(-1))
    if extrapolate is not None:
        with torch.no_grad():
            log_a = torch.log_softmax(padded_pass(extrapolate[0], tokens).logits[rows, places].float(), -1)
            surplus = spread((log_p + extrapolate[1] * (log_p - log_a)).logsumexp(-1))
    return Numbers(spread(log_p.gather(-1, targets[:, None])[:, 0]), value, divergence, backwards, surplus)

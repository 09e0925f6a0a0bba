"""What some objectives read beyond sums of log-probs: values of single tokens, hidden states pooled over a text."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from pluralign.objectives import Need, Tokens
from pluralign.policy.batch import TokenBatch
from pluralign.policy.forward import padded_pass
from pluralign.policy.logprobs import LogProbs, logprobs

Layer = tuple[torch.Tensor, ...]
Encode = Callable[[torch.Tensor], torch.Tensor]
Masks = Callable[[Layer], tuple[torch.Tensor, torch.Tensor]]
"""Hidden states of all layers, [N, T, H] each -> weights of log-ratios and of divergences, [N, T] each."""


class Reference:
    """The frozen reference, live: a copy of the model, or the model itself with its adapters switched off.

    >>> from types import SimpleNamespace
    >>> with_adapters = SimpleNamespace(disable_adapter=nullcontext)
    >>> Reference(with_adapters).model is with_adapters
    True
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._context: Callable[[], AbstractContextManager[Any]] = getattr(model, "disable_adapter", nullcontext)

    @torch.no_grad()
    def forward(self, tokens: TokenBatch, *, hidden: bool = False) -> Any:
        """The reference's output on a batch, without a gradient and without dropout."""
        training = self.model.training
        self.model.eval()
        with self._context():
            output = padded_pass(self.model, tokens, hidden)
        self.model.train(training)
        return output

    @torch.no_grad()
    def logprobs(self, tokens: TokenBatch) -> LogProbs:
        """Response log-probs under the reference as it is now."""
        training = self.model.training
        self.model.eval()
        with self._context():
            found = logprobs(self.model, tokens)
        self.model.train(training)
        return found


def token_values(
    model: Any, reference: Reference, tokens: TokenBatch, needs: set[Need], masks: Masks | None = None
) -> Tokens:
    """The numbers at single tokens that an objective with these needs reads, [B, K, T]; see `Tokens`.

    masks: gives the two weights of each token from the reference's hidden states; by its activations if left out.

    Where a divergence or weights are asked for, it takes whole next-token distributions of both models at once, so the
    batch must be small enough for two arrays of tokens by vocabulary.
    """
    b, k = tokens.shape
    mask = tokens.response_mask
    weighted = bool(needs & {Need.TOKEN_WEIGHTS, Need.STEP_WEIGHTS})
    if not weighted and Need.TOKEN_KL not in needs:
        return _without_distributions(model, reference, tokens, needs)
    theirs = reference.forward(tokens, hidden=weighted)
    rows, places = mask[:, 1:].nonzero(as_tuple=True)
    log_p, log_q = (
        torch.log_softmax(logits[rows, places].to(torch.promote_types(logits.dtype, torch.float32)), -1)
        for logits in (padded_pass(model, tokens).logits, theirs.logits)
    )
    targets = tokens.input_ids[rows, places + 1][:, None]

    def spread(values: torch.Tensor) -> torch.Tensor:
        whole = torch.zeros(mask.shape, dtype=values.dtype, device=values.device)
        return whole.index_put((rows, places + 1), values).view(b, k, -1)

    turn = turns(mask)
    values: dict[str, torch.Tensor] = {"turn": turn.view(b, k, -1).to(log_p.dtype)}
    if Need.TOKEN_KL in needs:
        values["kl"] = spread((log_q.exp() * (log_q - log_p)).sum(-1))
    if Need.COLLISION in needs:
        values["log_collision"] = spread(torch.logsumexp(2 * log_p.detach(), -1))
    if weighted:
        if masks is not None:
            both = masks(theirs.hidden_states)
        else:
            weight = _step_weight if Need.STEP_WEIGHTS in needs else _activation_weight
            both = (weight(theirs.hidden_states, tokens, turn),) * 2
        values["reward_weight"], values["kl_weight"] = (each.view(b, k, -1) * mask.view(b, k, -1) for each in both)
    return Tokens(
        mask=mask.view(b, k, -1).to(log_p.dtype),
        logp=spread(log_p.gather(-1, targets)[:, 0]),
        ref_logp=spread(log_q.gather(-1, targets)[:, 0]),
        **values,
    )


def _without_distributions(model: Any, reference: Reference, tokens: TokenBatch, needs: set[Need]) -> Tokens:
    b, k = tokens.shape
    extras = ["log_collision"] if Need.COLLISION in needs else []
    mine = logprobs(model, tokens, extras=extras)
    logp = mine.token_logp
    return Tokens(
        mask=tokens.response_mask.view(b, k, -1).to(logp.dtype),
        logp=logp,
        ref_logp=reference.logprobs(tokens).token_logp,
        turn=turns(tokens.response_mask).view(b, k, -1).to(logp.dtype),
        **(mine.extras or {}),
    )


def turns(mask: torch.Tensor) -> torch.Tensor:
    """Which run of scored tokens each position belongs to, counted from 0, [N, T].

    >>> turns(torch.tensor([[False, True, True, False, True]]))
    tensor([[0, 0, 0, 0, 1]])
    """
    starts = mask.clone()
    starts[:, 1:] &= ~mask[:, :-1]
    return (starts.cumsum(-1) - 1).clamp(min=0)


def pooled(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean hidden state over the masked positions of each text, [N, T, H] -> [N, H]; zero where there are none."""
    weight = mask.to(hidden.dtype)[..., None]
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)


def features(
    model: Any, reference: Reference, tokens: TokenBatch, layer: int, encode: Encode | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean features of a layer over each response under policy (with its gradient) and reference, [B, K, F].

    encode: from hidden states to features, a frozen sparse autoencoder say; left out, the states are the features.
    """
    b, k = tokens.shape
    both = (padded_pass(model, tokens, True), reference.forward(tokens, hidden=True))
    layers = (out.hidden_states[layer] for out in both)
    each = (states if encode is None else encode(states) for states in layers)
    mine, theirs = (pooled(found, tokens.response_mask).view(b, k, -1) for found in each)
    return mine, theirs


def last_states(model: Any, tokens: TokenBatch) -> torch.Tensor:
    """Last-layer hidden state at the last token of each sequence, [B*K, H], with the gradient."""
    hidden: torch.Tensor = padded_pass(model, tokens, True).hidden_states[-1]
    # The last real token, whichever side the padding is on.
    last = (tokens.attention_mask * torch.arange(hidden.shape[1], device=hidden.device)).argmax(-1)
    return hidden[torch.arange(len(last), device=hidden.device), last]


def prompt_embedding(reference: Reference, tokens: TokenBatch, layer: int) -> torch.Tensor:
    """Mean hidden state of the reference over each row's prompt, [B, H]."""
    hidden = reference.forward(tokens, hidden=True).hidden_states[layer]
    first = slice(None, None, tokens.shape[1])
    return pooled(hidden[first], tokens.prompt_mask[first])


def _activation_weight(layers: Layer, tokens: TokenBatch, turn: torch.Tensor) -> torch.Tensor:
    """SparsePO's fixed mask: the mean activation of each token over layers, standardised, then scaled to [0, 1]."""
    mask, activation = tokens.response_mask, torch.stack([layer.mean(-1) for layer in layers]).mean(0)
    low = activation.masked_fill(~mask, torch.inf).amin(-1, keepdim=True)
    high = activation.masked_fill(~mask, -torch.inf).amax(-1, keepdim=True)
    # Standardising first changes nothing that scaling to [0, 1] does not undo.
    scaled = (activation - low) / (high - low).clamp(min=1e-12)
    return torch.where(mask, scaled, 0.0).view(*tokens.shape, -1).detach()


def _step_weight(layers: Layer, tokens: TokenBatch, turn: torch.Tensor) -> torch.Tensor:
    """1 + cosine between the mean last hidden state of each turn and the best response's at the same turn."""
    b, k = tokens.shape
    steps = int(turn.max()) + 1
    inside = (turn[..., None] == torch.arange(steps, device=turn.device)) & tokens.response_mask[..., None]
    sums = torch.einsum("nth,nts->nsh", layers[-1], inside.to(layers[-1].dtype)).view(b, k, steps, -1)
    likeness = torch.cosine_similarity(sums, sums[:, :1], dim=-1)
    each = (1 + likeness).view(b * k, 1, steps).expand(-1, turn.shape[1], -1)
    return each.gather(2, turn[..., None])[..., 0].view(b, k, -1).detach()

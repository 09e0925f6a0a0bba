"""One pass of a model over a layout of tokens: the statistics of the tokens asked for."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from pluralign.policy.attention import use_packed_attention
from pluralign.policy.batch import TokenBatch
from pluralign.policy.head import Statistics, statistics_of_logits, token_statistics
from pluralign.policy.layout import Layout
from pluralign.policy.recompute import recomputing


def unwrapped(model: Any) -> Any:
    """The causal LM of transformers inside wrappers for adapters, processes and compilation."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif hasattr(model, "get_base_model"):
            model = model.get_base_model()
        elif hasattr(model, "module"):
            model = model.module
        else:
            return model


def through_tiles(
    model: Any, layout: Layout, predictors: torch.Tensor, targets: torch.Tensor, extras: frozenset[str]
) -> Statistics:
    """Statistics of `targets` [M] predicted from places `predictors` [M] of the line, without logits."""
    base = unwrapped(model)
    head = base.get_output_embeddings()
    found: list[Statistics] = []
    scale, softcap = logit_transform(base.config)

    def instead(hidden: torch.Tensor) -> torch.Tensor:
        picked = hidden.flatten(0, 1).index_select(0, predictors)
        found.append(token_statistics(picked, head, targets, forward=own, scale=scale, softcap=softcap, extras=extras))
        # Not read, but the model's output must hang together with its weights: DDP looks from there for unused ones.
        return found[0].logp[None, :, None]

    # The head is called by the model itself, inside whatever wraps it: hooks, adapters, autocast.
    own, before = head.forward, vars(head).get("forward")
    head.forward = instead
    try:
        with recomputing(base):
            _called(model, base, layout)
    finally:
        if before is None:
            del head.forward
        else:
            head.forward = before
    return found[0]


def through_logits(
    model: Any, layout: Layout, predictors: torch.Tensor, targets: torch.Tensor, extras: frozenset[str]
) -> Statistics:
    """The same from the model's own logits, at the columns where something is predicted if it can choose them."""
    base = unwrapped(model)
    width = layout.inputs["input_ids"].shape[1]
    rows, places = predictors // width, predictors % width
    columns, places = places.unique(return_inverse=True)
    selects = "logits_to_keep" in inspect.signature(base.forward).parameters
    logits = _called(model, base, layout, **({"logits_to_keep": columns} if selects else {})).logits
    if not selects:
        logits = logits[:, columns]
    picked = logits[rows, places]
    return statistics_of_logits(picked.to(torch.promote_types(picked.dtype, torch.float32)), targets, extras)


def padded_pass(model: Any, tokens: TokenBatch, hidden: bool = False) -> Any:
    """The model's own output for a padded batch: logits [B*K, T, V], and hidden states of all layers if asked for."""
    return model(
        input_ids=tokens.input_ids,
        attention_mask=tokens.attention_mask,
        position_ids=tokens.position_ids,
        use_cache=False,
        output_hidden_states=hidden,
    )


def logit_transform(config: Any) -> tuple[float, float | None]:
    """What a model does to its head's output: a factor, and the soft cap c of c * tanh(x / c)."""
    config = config.get_text_config()
    # Cohere multiplies, Granite divides, Gemma caps.
    scale = float(getattr(config, "logit_scale", None) or 1) / float(getattr(config, "logits_scaling", None) or 1)
    return scale, getattr(config, "final_logit_softcapping", None)


def _called(model: Any, base: Any, layout: Layout, **more: Any) -> Any:
    if layout.rows:
        use_packed_attention(base)
        # A mask of four dimensions is handed through as it is: none is built for the line.
        blank = torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=layout.ids.device)
        more |= {"attention_mask": blank, "packed_rows": layout.rows}
    return model(**layout.inputs, use_cache=False, **more)

"""Rewards of responses: one number from the last token of prompt and response, of a classifier with one label."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from pluralign.errors import OptionError
from pluralign.policy.batch import TokenBatch
from pluralign.policy.forward import unwrapped
from pluralign.policy.load import load, without_dropout


def rewards(model: Any, tokens: TokenBatch) -> torch.Tensor:
    """[B, K], in single precision or more, with the gradient; padding on either side changes nothing."""
    mask = tokens.attention_mask
    more: dict[str, Any] = {}
    # Padded on the right, positions are counted as the model does it by itself.
    if not bool(mask[:, 0].all()):
        if "position_ids" not in inspect.signature(unwrapped(model).forward).parameters:
            raise OptionError(f"{type(unwrapped(model)).__name__} cannot be told positions; pad on the right")
        more["position_ids"] = tokens.position_ids
    if "use_cache" in inspect.signature(unwrapped(model).forward).parameters:
        more["use_cache"] = False
    out = model(input_ids=tokens.input_ids, attention_mask=mask, **more).logits
    one: torch.Tensor = out[:, 0]
    return one.to(torch.promote_types(one.dtype, torch.float32)).view(tokens.shape)


def load_reward(name: str, *, dtype: str = "float32", seed: int = 0) -> tuple[Any, Any]:
    """A reward model and its tokenizer: a classifier with one label as it is, a language model with a new head.

    name: a folder or a hub name. Raises `OptionError` if it cannot be had.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot load the model '{name}': {str(error).strip().splitlines()[0]}") from None
    if not any(kind.endswith("ForSequenceClassification") for kind in config.architectures or ()):
        return with_head(*load(name, dtype=dtype), seed=seed)
    if config.num_labels != 1:
        raise OptionError(f"'{name}' tells {config.num_labels} classes apart; a reward model has one label")
    model = AutoModelForSequenceClassification.from_pretrained(name, dtype=getattr(torch, dtype))
    tokenizer = AutoTokenizer.from_pretrained(name)
    without_dropout(model)
    return _padded(model, tokenizer)


def with_head(model: Any, tokenizer: Any, *, seed: int = 0) -> tuple[Any, Any]:
    """The body of a causal LM, the same tensors, under a head of one number, drawn from N(0, 1 / (width + 1))."""
    from transformers import AutoModelForSequenceClassification

    known = {name: value for name, value in model.config.to_dict().items() if name not in ("id2label", "label2id")}
    config = model.config.__class__.from_dict(known | {"num_labels": 1})
    try:
        made = AutoModelForSequenceClassification.from_config(config)
    except ValueError:
        raise OptionError(f"transformers has no classifier of the kind {config.model_type}; choose another") from None
    made.base_model.load_state_dict(model.base_model.state_dict())
    head = made.score if hasattr(made, "score") else None
    if not isinstance(head, torch.nn.Linear):
        raise OptionError(f"the classifier of {config.model_type} is more than one matrix; choose another")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.nn.init.normal_(head.weight, std=(head.in_features + 1) ** -0.5)
    without_dropout(made)
    return _padded(made.to(model.dtype), tokenizer)


def _padded(model: Any, tokenizer: Any) -> tuple[Any, Any]:
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model, tokenizer

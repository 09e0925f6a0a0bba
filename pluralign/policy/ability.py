"""What a model can do: found out from what it says of itself, then checked on a few tokens."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from pluralign.policy.attention import NotPackable
from pluralign.policy.batch import TokenBatch, collate
from pluralign.policy.encode import Encoded
from pluralign.policy.forward import through_logits, through_tiles, unwrapped
from pluralign.policy.layout import Layout, packed, padded

logger = logging.getLogger(__name__)


@dataclass
class Ability:
    """Why a model cannot take packed lines, and why its logits cannot be made in tiles; None where it can."""

    unpackable: str | None = None
    untiled: str | None = None


_known: WeakKeyDictionary[Any, Ability] = WeakKeyDictionary()


def ability(model: Any) -> Ability:
    """What this model can do. Found out at its first use; what it cannot do is logged, once."""
    base = unwrapped(model)
    if base not in _known:
        _known[base] = able = Ability(refusal(model))
        with torch.no_grad():
            _probe(model, base, able)
        for what, why in (("share prompts or pack rows", able.unpackable), ("skip logits", able.untiled)):
            if why:
                logger.warning("cannot %s with %s: %s; the slower way is taken", what, type(base).__name__, why)
    return _known[base]


def plain_only(model: Any) -> None:
    """From now on this model, and any copy of it, is scored the plain way."""
    unwrapped(model).plain_logprobs = True


def ways(model: Any) -> tuple[bool, bool]:
    """Whether the next pass of this model takes packed lines, and makes its logits in tiles."""
    if getattr(unwrapped(model), "plain_logprobs", False):
        return False, False
    able = ability(model)
    return able.unpackable is None and not has_dropout(model), able.untiled is None


def give_up_packing(model: Any, why: NotPackable) -> None:
    """From now on this model is given padded batches."""
    base = unwrapped(model)
    ability(base).unpackable = str(why)
    logger.warning("no longer sharing prompts with %s: %s", type(base).__name__, why)


def has_dropout(model: Any) -> bool:
    """Whether a pass of this model would drop something out."""
    return any(isinstance(m, torch.nn.Dropout) and m.p > 0 and m.training for m in model.modules())


def refusal(model: Any) -> str | None:
    """Why a model cannot take packed lines by what it says of itself; None where nothing speaks against it."""
    base = unwrapped(model)
    config = getattr(base, "config", None)
    if config is None:
        return "it is not a model of transformers"
    if hasattr(model, "_orig_mod"):
        return "it is compiled, and the shape of a packed line changes with every batch"
    if config.is_encoder_decoder:
        return "it has an encoder"
    if getattr(base, "_is_stateful", False):
        return "it keeps a state that runs through the line"
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or [])
    if strange := kinds - {"full_attention", "sliding_attention"}:
        return f"it has layers of {', '.join(sorted(strange))}"
    if not getattr(base, "_supports_attention_backend", False):
        return "its attention cannot be replaced"
    return None


def _probe(model: Any, base: Any, able: Ability) -> None:
    """Compare the fast ways with the plain one where they could go wrong unseen."""
    batch = _sample(base)
    plain = _logp(through_logits, model, padded(batch), batch)
    precise = plain.dtype == torch.float64 or next(base.parameters()).dtype == torch.float32
    tolerance = 1e-3 if precise and not torch.is_autocast_enabled(plain.device.type) else 0.2

    def differs(way: Any, layout: Layout) -> bool:
        return not bool(((_logp(way, model, layout, batch) - plain).abs() < tolerance).all())

    if hasattr(model, "_orig_mod"):
        able.untiled = "it is compiled"
    elif differs(through_tiles, padded(batch)):
        able.untiled = "its logits are not those of its head, factor and soft cap"
    if able.unpackable is None:
        try:
            if differs(through_logits, packed(batch)):
                able.unpackable = "its log-probs on a packed line are not those of single sequences"
        except NotPackable as error:
            able.unpackable = str(error)
        except TypeError as error:
            able.unpackable = f"it does not pass on what its attention needs ({error})"


def _sample(base: Any) -> TokenBatch:
    draw = torch.Generator().manual_seed(0)
    size = base.get_input_embeddings().weight.shape[0]

    def ids(n: int) -> list[int]:
        return torch.randint(size, (n,), generator=draw).tolist()

    rows = [
        Encoded(ids(p), (ids(a), ids(b)), ([True] * a, [True] * b)) for p, a, b in ((9, 5, 3), (4, 2, 7), (6, 1, 4))
    ]
    return collate(rows, pad_id=0).to(base.device)


def _logp(way: Any, model: Any, layout: Layout, batch: TokenBatch) -> torch.Tensor:
    places = layout.place[batch.response_mask]
    logp: torch.Tensor = way(model, layout, layout.parent[places], layout.ids[places], frozenset()).logp
    return logp

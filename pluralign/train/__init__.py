"""One training loop for policy objectives, on transformers.Trainer and accelerate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pluralign.train.run import Run

if TYPE_CHECKING:
    from pluralign.train.alignment import align
    from pluralign.train.rounds import align_rounds
    from pluralign.train.text_reward import TextReward

__all__ = ["Run", "TextReward", "align", "align_rounds"]


def __getattr__(name: str) -> Any:
    # `Run` alone must not cost an import of torch.
    if name == "align":
        from pluralign.train.alignment import align

        return align
    if name == "align_rounds":
        from pluralign.train.rounds import align_rounds

        return align_rounds
    if name == "TextReward":
        from pluralign.train.text_reward import TextReward

        return TextReward
    raise AttributeError(f"module 'pluralign.train' has no attribute '{name}'")

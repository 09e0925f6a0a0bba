"""One training loop for policy objectives, on transformers.Trainer and accelerate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pluralign.train.run import Run

if TYPE_CHECKING:
    from pluralign.train.alignment import align

__all__ = ["Run", "align"]


def __getattr__(name: str) -> Any:
    # `Run` alone must not cost an import of torch.
    if name == "align":
        from pluralign.train.alignment import align

        return align
    raise AttributeError(f"module 'pluralign.train' has no attribute '{name}'")

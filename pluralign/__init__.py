"""Learn what people prefer, from any kind of feedback, and make models follow it.

Every name here is imported when it is first used, so that `import pluralign` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# name -> module that holds it
_PUBLIC = {
    "Feedback": "pluralign.feedback",
    "read": "pluralign.feedback",
    "align": "pluralign.train",
    "compare": "pluralign.compare",
    "evaluate": "pluralign.evaluate",
    "fit": "pluralign.models",
    "rank": "pluralign.rank",
    "report": "pluralign.report",
}

__all__ = ["Feedback", "__version__", "align", "compare", "evaluate", "fit", "rank", "read", "report"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pluralign' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])

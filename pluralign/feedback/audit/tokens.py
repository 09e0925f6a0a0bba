"""Lengths in the tokens of a named tokenizer; imports transformers when used."""

from __future__ import annotations

from typing import Any

from pluralign.errors import OptionError
from pluralign.feedback.audit.text import Tokenize


def tokenizer_of(name: str) -> Tokenize:
    """The tokenizer of a model name or folder as a function from texts to token ids, without special tokens.

    Raises `OptionError` where transformers is missing or the tokenizer cannot be loaded.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise OptionError("--tokenizer needs transformers: pip install 'pluralign[train]'") from None
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"the tokenizer '{name}' cannot be loaded ({reason}); give a model name or a folder"
        ) from None

    def tokenize(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        return ids

    return tokenize

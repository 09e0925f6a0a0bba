"""What sharing prompts, packing rows and choosing the head's positions leave out of an epoch, in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pluralign.policy.encode import Encoded, common_beginning

LOOK = 2000
"""Rows that are counted, with the rest of their batch."""


@dataclass(frozen=True)
class Positions:
    """Token positions of some rows: filled up to the longest of each batch, without padding, with what the responses
    of a row begin with counted once, and those that predict a token that counts."""

    padded: int
    whole: int
    distinct: int
    scored: int


def positions(batches: Iterable[Sequence[Encoded]]) -> Positions:
    """Count the positions of batches, until `LOOK` rows are seen.

    >>> row = Encoded([1, 2], ([3, 4, 9], [3, 9]), ([True] * 3, [True] * 2))
    >>> positions([[row]])
    Positions(padded=10, whole=9, distinct=6, scored=5)
    """
    padded = whole = distinct = scored = seen = 0
    for rows in batches:
        longest = max(len(row.prompt_ids) + max(map(len, row.response_ids)) for row in rows)
        for row in rows:
            k = len(row.response_ids)
            shared = common_beginning(row.response_ids)
            padded += k * longest
            whole += k * len(row.prompt_ids) + sum(map(len, row.response_ids))
            distinct += row.length - (k - 1) * shared
            scored += sum(map(sum, row.scored))
        seen += len(rows)
        if seen >= LOOK:
            break
    return Positions(padded, whole, distinct, scored)


def sentence(found: Positions, *, packs: bool, tiles: bool) -> str:
    """What is left out, for the user.

    >>> print(sentence(Positions(1000, 900, 600, 300), packs=True, tiles=True))
    log-probs: 60% of the token positions of padded batches; 10% were padding, 30% repeat a prompt; the head on 30%
    >>> print(sentence(Positions(1000, 900, 600, 300), packs=False, tiles=False))
    log-probs: padded batches, every prompt again, whole logits
    """

    def share(n: int) -> str:
        return f"{n / found.padded:.0%}"

    if packs:
        body = f"{share(found.distinct)} of the token positions of padded batches; "
        body += (
            f"{share(found.padded - found.whole)} were padding, {share(found.whole - found.distinct)} repeat a prompt"
        )
    else:
        body = "padded batches, every prompt again"
    return f"log-probs: {body}{f'; the head on {share(found.scored)}' if tiles else ', whole logits'}"

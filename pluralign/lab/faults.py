"""Faults planted in clean feedback, with the rows that have them: what an audit should find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from pluralign.feedback import Feedback
from pluralign.feedback.record import Judgement, plain, text


def plant(feedback: Feedback, *, each: int = 12, seed: int = 0) -> tuple[Feedback, dict[str, list[str]]]:
    """Feedback with `each` rows of every fault added at its end, and the ids of these rows by the finding's name.

    duplicate-pair: a row again under another id. near-duplicate-pair: a row with one word changed. contradiction: the
    same person, the same pair, the other way round. empty-response: one reply gone. non-text: a reply that is no
    language. constant-annotator: somebody who always takes the response shown first (five times as many rows).
    The feedback must be pairs with annotators. Everything is drawn under `seed`.
    """
    rng = np.random.default_rng(seed)
    rows = list(feedback)
    found: dict[str, list[str]] = {}

    def planted() -> Iterator[Judgement]:
        yield from rows
        makers: dict[str, Callable[[Judgement], Judgement]] = {
            "duplicate-pair": lambda j: j,
            "near-duplicate-pair": _reworded,
            "contradiction": lambda j: replace(j, ranks=tuple(reversed(j.ranks or ()))),
            "empty-response": lambda j: _with_reply(j, ""),
            "non-text": lambda j: _with_reply(j, "\x00\x01 %% 0x3f 0x91 ## \ufffd\ufffd\ufffd ||| 0x00"),
            "constant-annotator": lambda j: replace(j, ranks=(1, 2), positions=(1, 2), annotator="person-always-first"),
        }
        for name, make in makers.items():
            count = each * (5 if name == "constant-annotator" else 1)
            drawn = rng.permutation(len(rows))[:count]
            found[name] = [f"{name}-{i:03d}" for i in range(len(drawn))]
            for i, label in zip(drawn, found[name], strict=True):
                yield replace(make(rows[int(i)]), id=label)

    result = Feedback.from_judgements(planted(), history=[*feedback.history, {"faults": each, "seed": seed}])
    return result, found


def _reworded(j: Judgement) -> Judgement:
    words = plain(j.responses[0].messages)
    changed = replace(j.responses[0], messages=text(words + " Indeed."))
    return replace(j, responses=(changed, j.responses[1]))


def _with_reply(j: Judgement, words: str) -> Judgement:
    return replace(j, responses=(j.responses[0], replace(j.responses[1], messages=text(words))), ranks=(1, 2))

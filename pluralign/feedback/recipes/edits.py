"""Pairs of a right solution and the same with one subtle error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pluralign.feedback.recipes._rows import made, pair_of, strict_pair
from pluralign.feedback.record import Judgement, Message, Response, plain

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback

Rewrite = Callable[[str, Sequence[str], int, np.random.Generator], str]
"""(prompt, steps of the solution, which step, random numbers) -> that step with an error."""

GIVEN_AWAY = re.compile(r"\b(mistake|incorrect|error|wrong)", re.IGNORECASE)
STEPS = re.compile(r"(\n+|(?<=[.!?])\s+)")
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def wrong_number(prompt: str, steps: Sequence[str], place: int, draw: np.random.Generator) -> str:
    """The step with one of its numbers changed by a little; the step itself if it has none.

    >>> wrong_number("", ["3 + 4 = 7"], 0, np.random.default_rng(0))
    '3 + 4 = 17'
    """
    numbers = list(NUMBER.finditer(steps[place]))
    if not numbers:
        return steps[place]
    # The last number of a step is what the step comes to.
    found = numbers[-1]
    change = int(draw.choice([-10, -2, -1, 1, 2, 10]))
    digits = len(found[0].partition(".")[2])
    value = float(found[0]) + change * 10.0**-digits
    if value < 0:
        value = float(found[0]) - change * 10.0**-digits
    return f"{steps[place][: found.start()]}{value:.{digits}f}{steps[place][found.end() :]}"


def rise(
    feedback: Feedback, *, rewrite: Rewrite = wrong_number, edits: int = 1, tries: int = 3, seed: int = 0
) -> Feedback:
    """Every pair as it is, and for its preferred response `edits` pairs with a copy that has one step wrong.

    Steps are lines or sentences. What precedes the edit is the same in both, so that its log-ratio cancels in dpo and
    the error alone is learnt from. rewrite: writes the wrong step; a model asked for a subtle error in the paper, a
    changed number here. Edits that change nothing or give themselves away ("mistake") are dropped and counted, after
    `tries` draws. The paper's weight of a further NLL term is not known: add one with `nll_augmented`.

    Use it for mathematics and other step-by-step answers.
    Source: Xu et al. 2024, Subtle Errors Matter: Preference Learning via Error-injected Self-editing (arXiv
    2410.06638).

    >>> import pluralign
    >>> rows = pluralign.read([{"prompt": "2+2-1?", "chosen": "2+2 = 4. 4-1 = 3.", "rejected": "5"}])
    >>> [j.responses[1].messages[0].content for j in rise(rows)][0]
    '5'
    """

    def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        yield j
        pair = strict_pair(j)
        if pair is None or len(pair[0].messages) != 1:
            left_out["no single preferred text"] += 1
            return
        draw = np.random.default_rng((seed, *plain((*j.prompt, *pair[0].messages)).encode()))
        text = pair[0].messages[0].content or ""
        seen = {text}
        for _ in range(edits):
            edited = _edited(plain(j.prompt), text, rewrite, draw, tries, seen)
            if edited is None:
                left_out["no usable edit"] += 1
                continue
            seen.add(edited)
            message: Message = replace(pair[0].messages[0], content=edited)
            yield pair_of(j, pair[0], Response((message,)), meta={**j.meta, "edited": True})

    return made(feedback, "rise", {"edits": edits, "tries": tries, "seed": seed}, rows)


def _edited(
    prompt: str, text: str, rewrite: Rewrite, draw: np.random.Generator, tries: int, seen: set[str]
) -> str | None:
    pieces = STEPS.split(text)  # steps at even places, what stands between them at odd ones
    for _ in range(tries):
        place = int(draw.integers((len(pieces) + 1) // 2))
        step = rewrite(prompt, pieces[::2], place, draw)
        whole = "".join([*pieces[: 2 * place], step, *pieces[2 * place + 1 :]])
        if whole not in seen and not GIVEN_AWAY.search(step):
            return whole
    return None

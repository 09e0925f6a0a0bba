"""Comparisons across prompts, from constraints that a program can check."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from pluralign.feedback.recipes._rows import made, pair_of, strict_pair, with_words
from pluralign.feedback.record import Judgement, Message, Response, plain

if TYPE_CHECKING:
    from pluralign.feedback.feedback import Feedback


@dataclass(frozen=True)
class Constraint:
    """An instruction and the program that says whether a text follows it.

    >>> Constraint("Use no commas.", lambda text: "," not in text).check("a, b")
    False
    """

    words: str
    check: Callable[[str], bool]


def constraints(text: str, other: str, draw: np.random.Generator) -> list[Constraint]:
    """Instructions about length, words and form near the border between following and breaking them."""
    words = re.findall(r"\w+", text.lower())
    bound = max(1, round(len(words) * draw.choice([0.5, 0.8, 1.25, 2.0])))
    found = [
        Constraint(f"Answer in at most {bound} words.", lambda t: len(re.findall(r"\w+", t)) <= bound),
        Constraint(f"Answer in more than {bound} words.", lambda t: len(re.findall(r"\w+", t)) > bound),
        Constraint("Use no commas.", lambda t: "," not in t),
        Constraint("Use at least one comma.", lambda t: "," in t),
        Constraint("Write in one line.", lambda t: "\n" not in t.strip()),
        Constraint("Write more than one line.", lambda t: "\n" in t.strip()),
    ]
    for word in {str(draw.choice(ws)) for ws in (words, re.findall(r"\w+", other.lower())) if ws}:
        found += [
            Constraint(f"Use the word '{word}'.", lambda t, w=word: w in re.findall(r"\w+", t.lower())),  # type: ignore[misc]
            Constraint(f"Do not use the word '{word}'.", lambda t, w=word: w not in re.findall(r"\w+", t.lower())),  # type: ignore[misc]
        ]
    return found


def mapl(feedback: Feedback, *, kind: Literal["intra", "inter"] = "intra", count: int = 2, seed: int = 0) -> Feedback:
    """Rows for the objective mapl: one response under two prompts, or one pair under two prompts.

    intra: the preferred response under the prompt with `count` constraints, all of which it satisfies, above the same
    with `count` it violates at least one of. inter: four conversations, the pair under a prompt whose constraints the
    preferred response follows and the other breaks, then under one with the two exchanged; as recalled, the paper's way
    to make the two prompts is not known. Every label is checked by the constraints' own programs. Conversations carry
    their prompts, so rows have none of their own; plain texts become a user's and an assistant's turn. Pairs for which
    no such constraints are found are left out and counted.

    Use it, beside the pairs themselves, to follow prompts with several instructions.
    Source: Sun et al. 2025, multi-level aware preference learning (arXiv 2505.12845).
    """

    def rows(j: Judgement, left_out: Counter[str]) -> Iterator[Judgement]:
        pair = strict_pair(j)
        if pair is None:
            left_out["no strict pair"] += 1
            return
        good, bad = (plain(r.messages) for r in pair)
        draw = np.random.default_rng((seed, *f"{plain(j.prompt)}\x1f{good}".encode()))
        every = constraints(good, bad, draw)
        order = [every[i] for i in draw.permutation(len(every))]
        if kind == "intra":
            kept, broken = ([c for c in order if c.check(good) is wanted] for wanted in (True, False))
            if len(kept) < count or not broken:
                left_out["too few constraints"] += 1
                return
            mixed = [broken[0], *kept[: count - 1]]
            sides = [_conversation(j, asked, pair[0]) for asked in (kept[:count], mixed)]
            said = {"satisfied": [c.words for c in kept[:count]], "violated": [c.words for c in mixed]}
            yield pair_of(j, sides[0], sides[1], prompt=(), prompt_id=None, meta={**j.meta, **said})
            return
        for_good = [c for c in order if c.check(good) and not c.check(bad)]
        for_bad = [c for c in order if c.check(bad) and not c.check(good)]
        if not for_good or not for_bad:
            left_out["too few constraints"] += 1
            return
        four = [_conversation(j, asked, r) for asked in (for_good[:count], for_bad[:count]) for r in pair]
        row = pair_of(j, four[0], four[1], prompt=(), prompt_id=None)
        yield replace(row, responses=tuple(four), ranks=(1, 2, 3, 4))

    return made(feedback, "mapl", {"kind": kind, "count": count, "seed": seed}, rows)


def _conversation(j: Judgement, asked: list[Constraint], response: Response) -> Response:
    """Prompt with its constraints, and response, as turns of one conversation."""
    prompt = tuple(replace(m, role=m.role or "user") for m in j.prompt)
    reply = tuple(replace(m, role=m.role or "assistant") for m in response.messages)
    words = " ".join(c.words for c in asked)
    users = [i for i, m in enumerate(prompt) if m.role == "user"]
    if not users:
        return replace(response, messages=(*with_words(prompt or (Message("", "user"),), words), *reply), ratings={})
    last = prompt[users[-1]]
    with_asked = replace(last, content=f"{last.content or ''}\n\n{words}")
    turns = (*prompt[: users[-1]], with_asked, *prompt[users[-1] + 1 :])
    return replace(response, messages=(*turns, *reply), ratings={})

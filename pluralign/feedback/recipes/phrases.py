"""Texts degraded by known degrees: their key phrases taken out."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from pluralign.feedback.record import Message

_STOP = (
    "a about above after again all also am an and any are as at be because been before being below between both but "
    "by can could did do does doing down during each few for from further had has have having he her here hers him "
    "his how i if in into is it its itself just me more most my no nor not now of off on once only or other our out "
    "over own same she should so some such than that the their them then there these they this those through to too "
    "under until up very was we were what when where which while who whom why will with would you your "
)
STOP = frozenset(_STOP.split())
"""Words that end a phrase."""


def key_phrases(text: str) -> list[str]:
    """Runs of words between stop words and punctuation, the weightiest first (RAKE: degree over frequency).

    >>> key_phrases("The cat sat on a very large red mat, and the cat slept.")
    ['large red mat', 'cat sat', 'cat slept']
    """
    phrases: list[list[str]] = []
    for clause in re.split(r"[^\w\s'-]+|\n", text.lower()):
        phrase: list[str] = []
        for word in [*re.findall(r"[\w'-]+", clause), "the"]:
            if word in STOP:
                phrases += [phrase] if phrase else []
                phrase = []
            else:
                phrase.append(word)
    frequency, degree = Counter[str](), Counter[str]()
    for phrase in phrases:
        for word in phrase:
            frequency[word] += 1
            degree[word] += len(phrase)
    weight = {" ".join(p): sum(degree[word] / frequency[word] for word in p) for p in phrases}
    return sorted(weight, key=lambda phrase: (-weight[phrase], phrase))


def degraded(messages: tuple[Message, ...], degree: int, degrees: int) -> tuple[Message, ...]:
    """A response without the share degree / degrees of its key phrases, the weightiest first. Degree 0: as it is.

    For the extra task of spo_selfsup: telling how many are gone.
    Source: Li et al. 2024, self-supervised preference optimisation (arXiv 2409.17791); that the weightiest go first,
    and in equal steps, is recalled.

    >>> degraded((Message("A large red mat, and the cat slept."),), 1, 2)[0].content
    'A , and the cat slept.'
    """
    phrases = key_phrases("\n".join(m.content or "" for m in messages))
    gone = phrases[: round(len(phrases) * degree / degrees)]
    # Long phrases first: a short one may be part of a long one.
    pattern = "|".join(r"\s+".join(map(re.escape, p.split())) for p in sorted(gone, key=len, reverse=True))
    if not gone:
        return messages

    def without(text: str) -> str:
        return re.sub(r" {2,}", " ", re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", "", text, flags=re.IGNORECASE))

    return tuple(replace(m, content=without(m.content)) if m.content else m for m in messages)

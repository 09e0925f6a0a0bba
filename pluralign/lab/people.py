"""Simulated people of two known tastes, judging answers to everyday questions. All texts are drawn here, under a seed.

An answer is a few sentences of known kinds, so that what a person likes about it can be read off the text, also off a
text that a model wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pluralign.feedback import Feedback
from pluralign.feedback.record import Judgement, Response, text

SUBJECTS = (
    "a kettle", "a bicycle", "a wool coat", "a garden path", "a wooden table", "an old radio", "a paper lamp",
    "a tent", "a copper pan", "a window box", "a leather bag", "a kite", "a clock", "a pair of boots", "a hammock",
    "a bookshelf", "a cast iron pot", "a rain barrel", "a picture frame", "a sled",
)  # fmt: skip
TASKS = ("clean", "mend", "store", "paint", "choose", "carry", "measure", "give away")
ASKED = ("How do I {task} {subject}?", "What is the best way to {task} {subject}?", "Can you help me {task} {subject}?")
WARM = ("What a lovely question!", "I am glad that you asked.", "That sounds like a fine plan.")
STEPS = (
    "First look at {subject} from all sides.",
    "Take your time and work from the top down.",
    "Use a soft cloth and a little warm water.",
    "Let {subject} rest for an hour.",
    "Check each part before you go on.",
    "Keep the small pieces in a bowl.",
)
EXAMPLES = ("For example, ten minutes on Sunday is enough.", "For example, start with one corner of {subject}.")
CLOSING = ("You will do very well.", "Tell me how it went, I would love to hear.")


@dataclass(frozen=True)
class Taste:
    """What a person likes: points for a warm sentence, for each step, for an example; unknown sentences cost."""

    name: str
    warm: float
    step: float
    example: float
    unknown: float = -1.0

    def utility(self, prompt: str, response: str) -> float:
        """How good this person finds a response. Differences are in logits of choosing it.

        >>> BRIEF.utility("How do I clean a kettle?", "For example, ten minutes on Sunday is enough.")
        1.5
        """
        kinds = [_kind(sentence) for sentence in _sentences(response)]
        points: Mapping[str, float] = {
            "warm": self.warm, "step": self.step, "example": self.example, "unknown": self.unknown
        }  # fmt: skip
        return sum(points[kind] for kind in kinds) if kinds else 4 * self.unknown


BRIEF = Taste("brief", warm=-1.0, step=-0.6, example=1.5)
WARM_AND_FULL = Taste("warm and full", warm=1.2, step=0.5, example=0.2)


def crowd(share: float = 0.7) -> Callable[[str, str], float]:
    """The mean utility of a crowd in which `share` of the people are brief and the others warm and full."""

    def utility(prompt: str, response: str) -> float:
        return share * BRIEF.utility(prompt, response) + (1 - share) * WARM_AND_FULL.utility(prompt, response)

    return utility


def simulate(rows: int = 1200, *, people: int = 10, share: float = 0.7, prompts: int = 240, seed: int = 0) -> Feedback:
    """Pairs judged by people of the two tastes, each choosing by Bradley-Terry on their own utility.

    share: part of the people (rounded) who are brief; `annotator_attributes` says who is. Both responses of a pair
    are drawn by the same rule, and the side shown first is random.

    >>> feedback = simulate(50)
    >>> feedback
    <Feedback: 50 judgements (50 pairs)>
    """
    rng = np.random.default_rng(seed)
    brief = round(share * people)
    asked = questions(prompts, rng)

    def judged() -> Any:
        for i in range(rows):
            question, subject = asked[int(rng.integers(len(asked)))]
            person = int(rng.integers(people))
            taste = BRIEF if person < brief else WARM_AND_FULL
            first, second = _two_answers(subject, rng)
            lead = taste.utility(question, first) - taste.utility(question, second)
            wins = rng.random() < 1 / (1 + np.exp(-lead))
            yield Judgement(
                prompt=text(question + "\n"),
                responses=(Response(text(first)), Response(text(second))),
                ranks=(1, 2) if wins else (2, 1),
                positions=(1, 2),
                annotator=f"person-{person:02d}",
                annotator_kind="person",
                annotator_attributes={"taste": taste.name},
                id=f"pair-{i:05d}",
            )

    return Feedback.from_judgements(judged(), history=[{"simulated": rows, "people": people, "seed": seed}])


def questions(count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Different questions, each with the subject it is about."""
    every = [(a.format(task=t, subject=s), s) for a in ASKED for t in TASKS for s in SUBJECTS]
    return [every[i] for i in rng.permutation(len(every))[:count]]


def _two_answers(subject: str, rng: np.random.Generator) -> tuple[str, str]:
    first = second = _answer(subject, rng)
    while second == first:
        second = _answer(subject, rng)
    return first, second


def _answer(subject: str, rng: np.random.Generator) -> str:
    def some(sentences: tuple[str, ...], chance: float) -> list[str]:
        return [str(rng.choice(sentences))] if rng.random() < chance else []

    steps = [STEPS[i] for i in sorted(rng.permutation(len(STEPS))[: int(rng.integers(1, 5))])]
    parts = some(WARM, 0.5) + steps + some(EXAMPLES, 0.4) + some(CLOSING, 0.3)
    return " ".join(parts).format(subject=subject)


def _sentences(response: str) -> list[str]:
    return [s.strip() for s in re.findall(r"[^.!?]+[.!?]?", response) if s.strip()]


def _kind(sentence: str) -> str:
    for kind, sentences in (("warm", WARM + CLOSING), ("step", STEPS), ("example", EXAMPLES)):
        if any(_pattern(s).fullmatch(sentence) for s in sentences):
            return kind
    return "unknown"


def _pattern(sentence: str) -> re.Pattern[str]:
    subjects = "|".join(map(re.escape, SUBJECTS))
    return re.compile(re.escape(sentence).replace(re.escape("{subject}"), f"(?:{subjects})"))

"""Pairs of texts with a verdict, and what is on the surface of a text: the material of `benchmarks.explain`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pluralign
from benchmarks.real import debate
from pluralign.feedback.convert import prompt_key
from pluralign.feedback.record import Judgement, plain

Array = NDArray[np.float64]
LENGTH = "length"
MARKS = {
    "question": r"\?",
    "exclamation": r"!",
    "number": r"\d",
    "list": r"(?m)^[ \t]*(?:\d+[.)]|[-*+]) ",
    "bold or header": r"\*\*[^*\n]+\*\*|(?m:^#{1,6} )",
    "code": r"```|`[^`\n]+`",
    "paragraphs": r"\n\s*\n|<br/>",
    "quotation": r"[\"\u201c\u201d]",
    "link or citation": r"https?://|www\.|\[\d+\]",
    "capitals": r"\b[A-Z]{4,}\b",
    "I": r"\bI\b|\bI'",
    "you": r"(?i)\byou(?:r|rs)?\b",
    "reason": r"(?i)\b(?:because|since|therefore|thus|hence|reasons?)\b",
    "contrast": r"(?i)\b(?:but|however|although|though|whereas)\b",
    "example": r"(?i)\bfor (?:example|instance)\b|\be\.g\.|\bsuch as\b",
    "hedge": r"(?i)\b(?:maybe|perhaps|probably|might|I (?:think|believe|guess|feel)|in my opinion|not sure)\b",
    "refusal or apology": r"(?i)\b(?:sorry|apologi[sz]e|I (?:can't|cannot|won't)|(?:I'm|I am) unable|as an AI)\b",
    "insult": r"(?i)\b(?:stupid|idiots?|dumb|hate|suck|crap|damn|shit|fuck\w*|bitch\w*|asshole)\b",
}
NAMES = (LENGTH, *MARKS)
BINS = ("short", "medium", "long", "very long")


def counted(text: str) -> list[float]:
    """[P]: characters, and how often each mark stands in a text.

    >>> dict(zip(NAMES, counted("Why? Because I say so!"), strict=True))["reason"]
    1.0
    """
    return [float(len(text)), *(float(len(re.findall(mark, text))) for mark in MARKS.values())]


@dataclass(frozen=True)
class Choices:
    """n pairs of texts that one judge, or the majority of several, told apart.

    texts: [n] of (preferred, other). group: [n], what pairs of one group share (a debate, a prompt). pair: [n], a key
    of the two texts, the same for all judges of them.
    """

    judge: str
    texts: list[tuple[str, str]]
    group: NDArray[Any]
    pair: list[str]

    def counts(self) -> tuple[Array, Array]:
        """[n, P] twice: characters, and how often each mark stands, in the preferred text and in the other."""
        known: dict[str, list[float]] = {}
        for text in {t for pair in self.texts for t in pair}:
            known[text] = counted(text)
        sides = [np.array([known[pair[side]] for pair in self.texts]) for side in (0, 1)]
        return sides[0], sides[1]

    def differences(self) -> Array:
        """[n, P], preferred minus other: doublings of length, at most three; of a mark, which text has more of it."""
        a, b = self.counts()
        out = np.sign(a - b)
        out[:, 0] = np.clip(np.log2(np.maximum(a[:, 0], 1) / np.maximum(b[:, 0], 1)), -3, 3)
        return np.asarray(out)

    def factors(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[str]]:
        """Whether each text has each factor, quarters of length among them, [n, F] twice, and their names."""
        a, b = self.counts()
        edges = np.quantile(np.concatenate([a[:, 0], b[:, 0]]), [0.25, 0.5, 0.75])

        def has(side: Array) -> NDArray[np.bool_]:
            quarter = np.searchsorted(edges, side[:, 0], side="right")
            return np.hstack([quarter[:, None] == np.arange(4), side[:, 1:] > 0])

        return has(a), has(b), [*BINS, *MARKS]

    def some(self, most: int, seed: int = 0) -> Choices:
        """As many of the pairs at most, drawn at random."""
        if len(self.texts) <= most:
            return self
        drawn = np.sort(np.random.default_rng(seed).permutation(len(self.texts))[:most])
        kept = [self.texts[i] for i in drawn], self.group[drawn], [self.pair[i] for i in drawn]
        return Choices(self.judge, *kept)


def _majority(judge: str, votes: Sequence[Judgement], key: Any) -> Choices:
    """One choice for each pair of texts that a majority tells apart; texts that are empty leave their pair out."""
    total: dict[tuple[str, str, str], list[float]] = {}
    for j in votes:
        first, second = (plain(r.messages).strip() for r in j.responses)
        if not first or not second or first == second or j.ranks is None:
            continue
        ends = (first, second) if first < second else (second, first)
        rank = np.sign((j.ranks[1] or 0) - (j.ranks[0] or 0)) * (1 if first < second else -1)
        total.setdefault((str(key(j)), *ends), []).append(float(rank))
    said = [(at, np.sign(sum(ranks))) for at, ranks in total.items() if sum(ranks)]
    texts = [(a, b) if sign > 0 else (b, a) for (_, a, b), sign in said]
    group = np.unique([at[0] for at, _ in said], return_inverse=True)[1]
    return Choices(judge, texts, group, ["\0".join(at) for at, _ in said])


def load(data: Path) -> dict[str, Choices]:
    """Every judge by name."""
    arguments = list(pluralign.read(data / "ukpconvarg1" / "UKPConvArg1Strict-CSV"))
    replies = list(pluralign.read(data / "hh_rlhf" / "harmless-base-test.subset.jsonl.gz"))
    panda = list(pluralign.read(data / "pandalm"))
    arena = list(pluralign.read(data / "llmfao"))
    alpaca = list(pluralign.read(data / "alpaca_eval"))
    made = {
        "arguments, crowd": (arguments, debate),
        "harmless replies, crowd": (replies, lambda j: j.prompt[0].content),
        "instructions, three people": (panda, prompt_key),
        "chatbots, crowd": ([j for j in arena if j.annotator_kind == "person"], prompt_key),
        "chatbots, GPT-4": ([j for j in arena if j.annotator_kind != "person"], prompt_key),
        "instructions, GPT-4 Turbo": (alpaca, prompt_key),
    }
    return {name: _majority(name, votes, key) for name, (votes, key) in made.items()}

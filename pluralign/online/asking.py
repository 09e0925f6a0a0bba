"""A stage's samples drawn and judged, and what is left of them: groups to learn from, feedback to keep."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.feedback import Feedback, Judgement, Response
from pluralign.feedback.record import Message
from pluralign.online.drawn import Drawn, Law, Prompt, Sample, hashed
from pluralign.online.groups import Group
from pluralign.online.judges import Recorded, Rewarding
from pluralign.online.learner import Judge
from pluralign.policy.encode import Encoded, Encoder

Array = NDArray[np.float64]


@dataclass
class Judged:
    """What a stage has to learn from.

    groups: prompts with every answer they need; law, opponent: how often each of their responses is drawn; laws:
    what each was drawn from. rows: one a question. lost: prompts that are not learnt from, by reason.
    """

    groups: list[Group] = field(default_factory=list)
    law: list[float] = field(default_factory=list)
    opponent: list[float] = field(default_factory=list)
    laws: list[Law] = field(default_factory=list)
    rows: list[Judgement] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    duplicates: float = 0.0
    rewards: list[float] = field(default_factory=list)

    def add(self, other: Judged) -> None:
        """Take in another stage's groups of the same laws."""
        self.groups += other.groups
        self.law, self.opponent, self.laws = other.law, other.opponent, other.laws


def shares(law: int, opponent: int) -> tuple[list[float], list[float]]:
    """How often each response is drawn by the law and by the opponent, the law's draws first.

    >>> shares(2, 0), shares(1, 1)
    (([0.5, 0.5], [0.5, 0.5]), ([1.0, 0.0], [0.0, 1.0]))
    """
    own = [1 / law] * law + [0.0] * opponent
    return own, ([0.0] * law + [1 / opponent] * opponent if opponent else list(own))


def ask(
    drawn: Sequence[Drawn],
    law: Sequence[float],
    opponent: Sequence[float],
    *,
    judges: Sequence[Recorded],
    wants: AbstractSet[Judge],
    encoder: Encoder,
    label: str,
    seed: int,
    greedy: Sequence[str] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Judged:
    """Have the judge say what the learner wants to know of every prompt's samples.

    Where rewards are wanted and a judge only compares, a response's reward is how often it is preferred to the other
    draws (Swamy et al. 2024). Equal texts are not asked about: neither can be preferred. Components are wanted of every
    judge, all else of the one there is. greedy: the most probable response to each prompt, to be rewarded too.
    """
    found = Judged(law=list(law), opponent=list(opponent), laws=[s.law for s in drawn[0].samples] if drawn else [])
    found.duplicates = _duplicates([[s.text for s in d.samples] for d in drawn])

    def compared(judge: Recorded) -> list[Array]:
        return _compared(found, judge, drawn, _asked(law, opponent), label, seed)

    def rewarded(judge: Recorded, chances: Sequence[Array] | None = None) -> list[Array]:
        if isinstance(judge.judge, Rewarding):
            return _rewarded(found, judge, drawn, label)
        return [_wins(own, np.asarray(opponent)) for own in chances or compared(judge)]

    preference = compared(judges[0]) if Judge.PREFERENCE in wants else None
    reward = rewarded(judges[0], preference) if Judge.REWARD in wants else None
    components = None
    if Judge.COMPONENTS in wants:
        components = [np.stack(own, axis=1) for own in zip(*map(rewarded, judges), strict=True)]
    best: Sequence[float] | None = None
    if greedy is not None and isinstance(judges[0].judge, Rewarding):
        best = judges[0].reward([d.prompt for d in drawn], list(greedy)).tolist()
    if not wants:
        found.rows = [_row(d, d.samples, label, None) for d in drawn]
    for i, one in enumerate(drawn):
        said = (reward, preference, best, components)
        numbers: list[Any] = [None if each is None else each[i] for each in said]
        if any(n is not None and not np.isfinite(n).all() for n in numbers):
            found.lost["no answer"] += 1
            continue
        found.groups.append(_group(one, encoder, *numbers))
        if (given := numbers[0]) is not None:
            found.rewards += np.asarray(given).tolist()
        progress(i + 1)
    return found


def _asked(law: Sequence[float], opponent: Sequence[float]) -> list[tuple[int, int]]:
    """The pairs of responses that a learner compares."""
    met = {(i, j) for i, a in enumerate(law) for j, b in enumerate(opponent) if a * b > 0 and i != j}
    return [(i, j) for i, j in combinations(range(len(law)), 2) if {(i, j), (j, i)} & met]


def _compared(
    found: Judged, judge: Recorded, drawn: Sequence[Drawn], asked: list[tuple[int, int]], label: str, seed: int
) -> list[Array]:
    """Preferences [K, K] of every prompt; nan where there is no answer, one half where nothing was asked."""
    k = len(found.law)
    matrices = [np.full((k, k), 0.5) for _ in drawn]
    questions: list[tuple[int, int, int]] = []
    for place, one in enumerate(drawn):
        for i, j in asked:
            if one.samples[i].text == one.samples[j].text:
                continue
            # Which is shown first is drawn: a judge may favour a side.
            first = hashed(seed, one.samples[i].seed, one.samples[j].seed) % 2 == 0
            questions.append((place, i, j) if first else (place, j, i))
    prompts = [drawn[place].prompt for place, *_ in questions]
    sides = [[drawn[place].samples[own[side]].text for place, *own in questions] for side in (0, 1)]
    chances = judge.prob(prompts, *sides) if questions else np.zeros(0)
    for (place, i, j), chance in zip(questions, chances.tolist(), strict=True):
        matrices[place][i, j], matrices[place][j, i] = chance, 1 - chance
        pair = (drawn[place].samples[i], drawn[place].samples[j])
        found.rows.append(_row(drawn[place], pair, label, judge.name, chance=chance))
    return matrices


def _rewarded(found: Judged, judge: Recorded, drawn: Sequence[Drawn], label: str) -> list[Array]:
    """Rewards [K] of every prompt, nan where there is no answer."""
    k = len(found.law)
    prompts = [d.prompt for d in drawn for _ in range(k)]
    values = judge.reward(prompts, [s.text for d in drawn for s in d.samples]).reshape(-1, k)
    found.rows += [
        _row(d, d.samples, label, judge.name, rewards=own.tolist()) for d, own in zip(drawn, values, strict=True)
    ]
    return list(values)


def _wins(preference: Array, opponent: Array) -> Array:
    """How often each response is preferred to the opponent's other draws, [K]."""
    weight = opponent[None, :] * (1 - np.eye(len(opponent)))
    won: Array = (weight * preference).sum(1) / np.maximum(weight.sum(1), 1e-12)
    return won


def _row(
    drawn: Drawn,
    samples: Sequence[Sample],
    label: str,
    judge: str | None,
    *,
    chance: float | None = None,
    rewards: Sequence[float] | None = None,
) -> Judgement:
    """One question and its answer as a row of feedback; one that had no answer says nothing."""
    silent = chance is not None and math.isnan(chance)
    role = "assistant" if any(m.role for m in drawn.prompt) else None
    responses = tuple(
        Response(
            (Message(sample.text, role=role),),
            model=str(sample.law),
            ratings={} if rewards is None or math.isnan(rewards[k]) else {"reward": rewards[k]},
        )
        for k, sample in enumerate(samples)
    )
    meta: dict[str, Any] = {
        "stage": label,
        "law": [str(s.law) for s in samples],
        "logp": [None if s.logp is None else round(s.total_logp, 6) for s in samples],
        "tokens": [len(s.tokens) for s in samples],
        "stop": [s.stop for s in samples],
        "seed": [s.seed for s in samples],
    }
    if silent or (rewards is not None and any(math.isnan(r) for r in rewards)):
        meta["answer"] = "none"
    return Judgement(
        prompt=drawn.prompt,
        responses=responses,
        probability=None if silent else chance,
        annotator=judge,
        annotator_kind=None if judge is None else "model",
        positions=(1, 2) if chance is not None else None,
        meta=meta,
    )


def _group(
    drawn: Drawn,
    encoder: Encoder,
    reward: Array | None,
    preference: Array | None,
    greedy: float | None,
    components: Array | None,
) -> Group:
    ids = tuple(list(s.tokens) for s in drawn.samples)
    if all(ids):
        scored = tuple([i >= s.given for i in range(len(s.tokens))] for s in drawn.samples)
        encoded = Encoded(list(drawn.prompt_ids), ids, scored)
    else:
        # A server that tells no tokens: they are the ones our tokenizer makes of the text.
        role = "assistant" if any(m.role for m in drawn.prompt) else None
        encoded = encoder.encode(drawn.prompt, [(Message(s.text, role=role),) for s in drawn.samples])
    logps = [s.logp for s in drawn.samples]
    told = all(
        logp is not None and len(logp) == len(own) for logp, own in zip(logps, encoded.response_ids, strict=True)
    )
    return Group(
        encoded,
        tuple(np.asarray(logp, dtype=np.float32) for logp in logps) if told else None,
        _single(reward),
        _single(preference),
        greedy,
        _single(components),
    )


def _single(values: Array | None) -> NDArray[np.float32] | None:
    return None if values is None else np.asarray(values, dtype=np.float32)


def _duplicates(texts: Sequence[Sequence[str]]) -> float:
    """Share of samples whose very text was already drawn for the same prompt."""
    total = sum(map(len, texts))
    return 1 - sum(len(set(own)) for own in texts) / total if total else 0.0


def kept(rows: Sequence[Judgement], *, number: int, learner: str) -> Feedback:
    """A round's questions and answers as feedback."""
    history: list[Mapping[str, Any]] = [{"online": learner, "round": number, "questions": len(rows)}]
    return Feedback.from_judgements(rows, history=history)


def plain_writer(laws: Sequence[Law]) -> str | None:
    """The snapshot that all responses are plain draws of; None where there is no one such.

    >>> plain_writer([Law.of("previous")] * 2), plain_writer([Law.of("previous"), Law.of("reference")])
    ('previous', None)
    """
    names = {law.weights[0][0] if law.plain else None for law in laws}
    return names.pop() if len(names) == 1 else None


def as_prompt(value: str | Prompt) -> Prompt:
    """A prompt given as text, or as it is.

    >>> as_prompt("Why?")[0].content
    'Why?'
    """
    return (Message(value),) if isinstance(value, str) else tuple(value)

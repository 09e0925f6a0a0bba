"""What groups may like and who they may be: things that sides of an answer differ in, and facts about people."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, hstack
from scipy.special import expit

from pluralign.feedback.audit.style import features as marks
from pluralign.feedback.record import Judgement, plain
from pluralign.models.answers import Answers

if TYPE_CHECKING:
    from pluralign.models.population import Population

WORD = re.compile(r"[^\W\d_]{3,}")
MOST, LEAST = 300, 30
"""Words counted: the most frequent of those that stand on one side only of so many answers."""
SHOWN, TELLING = 160, 3
"""Characters of a text that are shown, and pairs for each group."""
CALLED = {
    "characters": "the longer text",
    "headers": "more headers",
    "lists": "longer lists",
    "bold": "more bold text",
    "code": "more code blocks",
    "emoji": "more emoji",
    "exclamation": "more exclamation marks",
    "citation": "more citations or links",
    "refusal": "more refusals",
    "hedge": "more hedging",
}


def texts(model: Population, feedback: Any) -> list[Judgement]:
    """[n]: the comparisons of texts behind the answers that the model reads; none where it reads no texts."""
    features = model.features
    if isinstance(feedback, Answers) or features is None or features.encoder == "items" or features.column is not None:
        return []
    return [*features.pairs(feedback)]


def things(model: Population, answers: Answers, judged: list[Judgement]) -> tuple[csr_array, list[str], str]:
    """[n, J], 1 where the left side of an answer is a thing or has more of it, -1 where the right; names; kind.

    judged: `texts` of the answers.
    """
    features = model.features
    if features is not None and features.encoder == "items" and features.names is not None:
        n, item = len(answers), answers.items.argmax(1).numpy()
        sides = [
            coo_array((np.ones(n), (np.arange(n), item[s]))) for s in (answers.left.numpy(), answers.right.numpy())
        ]
        size = (n, len(features.names))
        left, right = (csr_array((side.data, side.coords), shape=size) for side in sides)
        return csr_array(left - right), features.names, "items"
    if not judged:
        left, right = answers.features
        name = "feature" if features is None or features.column is None else features.column
        names = [f"more of {name} {j}" for j in range(left.shape[1])]
        return csr_array(torch.sign(left - right).double().numpy()), names, "marks"
    return (*_surface([[plain(r.messages) for r in j.responses] for j in judged]), "marks")


def _surface(pairs: list[list[str]]) -> tuple[csr_array, list[str]]:
    """Marks and frequent words of the two sides of pairs [n]."""
    distinct = list(dict.fromkeys(text for pair in pairs for text in pair))
    at = {text: i for i, text in enumerate(distinct)}
    left, right = (np.array([at[pair[side]] for pair in pairs]) for side in (0, 1))
    counts = marks(pl.Series(distinct, dtype=pl.String)).select(list(CALLED)).to_numpy().astype(float)
    spoken = [frozenset(word.lower() for word in WORD.findall(text)) for text in distinct]
    told: Counter[str] = Counter()
    for a, b in zip(left, right, strict=True):
        told.update(spoken[a] ^ spoken[b])
    words = [word for word, n in told.most_common(MOST) if n >= LEAST]
    place = {word: j for j, word in enumerate(words)}
    where = [(i, place[word]) for i, some in enumerate(spoken) for word in some if word in place]
    rows, columns = zip(*where, strict=True) if where else ((), ())
    has = csr_array((np.ones(len(where)), (rows, columns)), shape=(len(distinct), len(words)))
    both = hstack([csr_array(np.sign(counts[left] - counts[right])), has[left] - has[right]], format="csr")
    return csr_array(both), [*CALLED.values(), *(f"'{word}'" for word in words)]


@torch.no_grad()
def telling(model: Population, answers: Answers, judged: list[Judgement]) -> pl.DataFrame | None:
    """Pairs of texts about which a group's chance to prefer one lies furthest from that of everybody else's mean taste.

    A row each: group, prompt, liked, over, chance, others. None where there are no texts or no groups.
    """
    shares = model.weights_.mean(0) if model.simplex else np.ones(1)
    if not judged or len(shares) == 1:
        return None
    margins = model._under(answers, np.eye(len(shares)))
    rows = []
    for k, share in enumerate(shares):
        others = (margins @ shares - margins[:, k] * share) / max(1 - share, 1e-12)
        gap, seen = expit(margins[:, k]) - expit(others), set[str]()
        for i in np.argsort(-np.abs(gap)):
            sides = [plain(r.messages) for r in judged[i].responses]
            if len(seen) == 2 * TELLING:
                break
            if seen & set(sides) or len(set(sides)) < 2:
                continue
            seen |= set(sides)
            side = 1 if gap[i] > 0 else -1
            liked, over = sides[::side]
            chances = {"chance": float(expit(side * margins[i, k])), "others": float(expit(side * others[i]))}
            told = {"prompt": plain(judged[i].prompt), "liked": liked, "over": over}
            rows.append({"group": k} | {name: short(text) for name, text in told.items()} | chances)
    return pl.DataFrame(rows) if rows else None


def short(text: str) -> str:
    """A text on one line, its end left out where it is long.

    >>> short("a\\n b")
    'a b'
    """
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 3] + "..."


def known(feedback: Any) -> dict[str, Mapping[str, Any]]:
    """What feedback says of its annotators, by name; nothing of `Answers`."""
    if isinstance(feedback, Answers):
        return {}
    told = pl.DataFrame(feedback.table.select(["annotator", "annotator_attributes"])).drop_nulls()
    return {name: json.loads(facts) for name, facts in told.unique("annotator", keep="first").iter_rows()}


def answered(attributes: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], tuple[set[str], set[str]]]:
    """For every attribute and value: the people of whom it is true, and those of whom the attribute is known.

    Numbers of which there are many are cut at thirds.

    >>> told = answered({"ada": {"age": "30s"}, "ben": {"age": "40s"}, "eve": {}})
    >>> {key: [sorted(names) for names in of] for key, of in told.items()}[("age", "30s")]
    [['ada'], ['ada', 'ben']]
    """
    by: dict[str, dict[str, Any]] = {}
    for name, facts in attributes.items():
        for attribute, value in facts.items():
            if isinstance(value, str | bool | int | float):
                by.setdefault(attribute, {})[name] = value
    found: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for attribute, values in by.items():
        asked = set(values)
        for name, value in _cut(values).items():
            found.setdefault((attribute, value), (set(), asked))[0].add(name)
    return found


def _cut(values: Mapping[str, Any]) -> dict[str, str]:
    numbers: dict[str, float] = {}
    for name, value in values.items():
        try:
            numbers[name] = float(value)
        except ValueError:
            return {name: short(str(value)) for name, value in values.items()}
    every: NDArray[np.float64] = np.array([*numbers.values()])
    if len(np.unique(every)) <= 5:
        return {name: f"{value:g}" for name, value in numbers.items()}
    low, high = np.quantile(every, [1 / 3, 2 / 3], method="nearest")
    names = {0: f"at most {low:g}", 1: f"above {low:g} to {high:g}", 2: f"above {high:g}"}
    return {name: names[int(value > low) + int(value > high)] for name, value in numbers.items()}

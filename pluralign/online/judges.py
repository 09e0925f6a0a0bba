"""Judges: who is preferred, and by whom; every answer counted, paid for once and kept."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import OptionError, PluralignError
from pluralign.likelihoods import sigmoid
from pluralign.online.drawn import Prompt, prompt_key, words
from pluralign.online.journal import Journal

Array = NDArray[np.float64]
Asked = Sequence[Prompt | str]


@runtime_checkable
class Judge(Protocol):
    """Says which of two responses is better. A new judge is a class with this name and method.

    name: the judge with everything that its answers depend on, for they are kept under it. prob: chances [n] that
    `first` is preferred to `second` under each prompt; nan where there is no answer. It may raise `Unanswered`.
    """

    @property
    def name(self) -> str:
        """The judge and all that its answers depend on."""

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """Chances [n] that first is preferred."""


@runtime_checkable
class Rewarding(Judge, Protocol):
    """A judge that also gives each response a number of its own."""

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """Rewards [n], nan where there is no answer."""


class Unanswered(Exception):
    """A judge could not answer this time: a timeout, a reply that says nothing, too many questions at once.

    after: seconds to wait before asking again, where the judge said so.
    """

    def __init__(self, why: str, *, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


class BudgetSpent(PluralignError):
    """More answers were asked for than the budget has left."""


class Budget:
    """How many questions may be asked, by all who share it. limit None: any number.

    >>> budget = Budget(2)
    >>> budget.spend(2)
    >>> budget.left
    0
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 0:
            raise OptionError(f"a budget of {limit} questions is below zero")
        self.limit, self.spent = limit, 0

    @property
    def left(self) -> float:
        """Questions that may still be asked; infinity without a limit."""
        return math.inf if self.limit is None else self.limit - self.spent

    def spend(self, questions: int) -> None:
        """Take questions from the budget. Raises `BudgetSpent`, with nothing taken, where it does not hold them."""
        if questions > self.left:
            raise BudgetSpent(
                f"the judge's budget of {self.limit:,} questions has {self.left:,} left and {questions:,} are to be "
                "asked; raise the budget or ask for fewer (answers given so far are kept)"
            )
        self.spent += questions


class Recorded:
    """A judge whose answers are counted, paid for once, asked again when they fail, and kept on disk as they come.

    path: the file of answers, keyed by judge, prompt and responses; what is in it is not asked again, so that a run
    that was killed goes on where it was. None: in memory. budget: shared with others if the same object is given.
    Every question sent counts, those asked again too. attempts: how often a question is asked before it is
    recorded as without an answer, which is nan and never a tie. wait: seconds before the second attempt, doubled for
    each further one; a judge that says when to come again is obeyed, up to `longest`. batch: questions sent at once,
    which is also the most that a kill can lose.

    A question that comes twice is asked once. An error that is no `Unanswered`, timeout or lost connection is
    the judge's own and stops the work. Raises `BudgetSpent` before asking what the budget does not hold.

    >>> judge = Recorded(Scored(lambda prompt, response: len(response), name="length"), budget=Budget(2))
    >>> judge.prob(["q", "q"], ["long", "long"], ["a", "a"]).round(3).tolist(), judge.asked
    ([0.953, 0.953], 1)
    """

    def __init__(
        self,
        judge: Judge,
        *,
        path: str | Path | None = None,
        budget: Budget | None = None,
        attempts: int = 4,
        wait: float = 1.0,
        longest: float = 120.0,
        batch: int = 64,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if attempts < 1 or batch < 1 or wait < 0:
            raise OptionError("attempts and batch are at least 1, and wait is not below zero")
        self.judge, self.budget = judge, budget or Budget()
        self.attempts, self.wait, self.longest, self.batch, self._sleep = attempts, wait, longest, batch, sleep
        self._journal = Journal(path)
        self._known: dict[str, float] = {}
        for line in self._journal.lines:
            if "value" in line:
                self._known[line["key"]] = math.nan if line["value"] is None else line["value"]
        # What was paid before a kill is paid: the budget is of the whole run.
        self.asked = len(self._journal.lines)
        self.budget.spend(int(min(self.asked, self.budget.left)))

    @property
    def name(self) -> str:
        """That of the judge."""
        return self.judge.name

    @property
    def unanswered(self) -> int:
        """How many questions were recorded as without an answer."""
        return sum(math.isnan(value) for value in self._known.values())

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """Chances [n] that first is preferred, nan for no answer."""
        return self._answers("prob", self.judge.prob, _chance, prompts, first, second)

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """Rewards [n], nan for no answer. Raises `OptionError` where the judge only compares."""
        if not isinstance(self.judge, Rewarding):
            raise OptionError(f"the judge '{self.name}' compares and gives no rewards; use a learner that compares")
        return self._answers("reward", self.judge.reward, _number, prompts, responses)

    def _answers(
        self,
        kind: str,
        ask: Callable[..., Any],
        valid: Callable[[Any], float | None],
        prompts: Asked,
        *sides: Sequence[str],
    ) -> Array:
        rows = list(zip(prompts, *sides, strict=True))
        keys = [_key(self.name, kind, *row) for row in rows]
        open_ = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._known}
        if len(open_) > self.budget.left:
            self.budget.spend(len(open_))
        waiting = list(open_)
        for start in range(0, len(waiting), self.batch):
            self._settle({key: open_[key] for key in waiting[start : start + self.batch]}, kind, ask, valid)
        return np.array([self._known[key] for key in keys], dtype=np.float64)

    def _settle(
        self,
        questions: dict[str, tuple[Any, ...]],
        kind: str,
        ask: Callable[..., Any],
        valid: Callable[[Any], float | None],
    ) -> None:
        """Ask until every question has an answer or has been asked often enough."""
        together = True
        for attempt in range(1, self.attempts + 1):
            left, pause = {}, self.wait * 2 ** (attempt - 1)
            for some in [questions] if together else [{key: row} for key, row in questions.items()]:
                self.budget.spend(len(some))
                self.asked += len(some)
                values, why, after = _try(ask, list(some.values()))
                lines = []
                for (key, row), value in zip(some.items(), values, strict=True):
                    number = valid(value)
                    lines.append(self._line(key, kind, row) | {"value": number})
                    if number is not None:
                        self._known[key] = number
                        continue
                    left[key] = row
                    lines[-1]["failed"] = why or f"it gave {str(value)[:80]!r}"
                    if attempt < self.attempts:
                        del lines[-1]["value"]
                    else:
                        self._known[key] = math.nan
                self._journal.append(lines)
                # One bad question may fail all that are sent with it; too many at once are not helped by that.
                together = together and (why is None or after is not None)
                pause = pause if after is None else after
            questions = left
            if not questions or attempt == self.attempts:
                return
            self._sleep(min(pause, self.longest))

    def _line(self, key: str, kind: str, row: tuple[Any, ...]) -> dict[str, Any]:
        said = {"prompt": _written(row[0]), "responses": list(row[1:])}
        return {"key": key, "judge": self.name, "kind": kind, **said}


class Scored:
    """A function (prompt, response) -> number as a judge; chances by Bradley-Terry on it.

    scale: what one unit of it is worth in logits.
    """

    def __init__(self, function: Callable[[str, str], float], *, name: str, scale: float = 1.0) -> None:
        self.function, self.scale = function, scale
        self.name = f"{name}, scale {scale:g}"

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """What the function says, [n]."""
        return np.array([self.function(words(x), y) for x, y in zip(prompts, responses, strict=True)], dtype=np.float64)

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """sigmoid(scale * (r(first) - r(second))), [n]."""
        return bradley_terry(self.scale * self.reward(prompts, first), self.scale * self.reward(prompts, second))


class Matrix:
    """A table of chances as a judge: preference[i, j] that item i is preferred to item j, cycles and all.

    preference: [R, R], the same for every prompt. items: the R responses by their words; "0", "1", ... by default.
    Raises `OptionError` for tables that are no chances or do not add up to one across the diagonal, and for a response
    that is not in the table.

    >>> Matrix([[0.5, 0.9], [0.1, 0.5]], items=["tea", "soup"]).prob(["?"], ["soup"], ["tea"]).tolist()
    [0.1]
    """

    def __init__(self, preference: Any, items: Sequence[str] | None = None) -> None:
        table = np.asarray(preference, dtype=np.float64)
        if table.ndim != 2 or table.shape[0] != table.shape[1]:
            raise OptionError(f"a preference has one row and one column a response; got shape {table.shape}")
        if not (np.isfinite(table).all() and np.allclose(table + table.T, 1) and (table >= 0).all()):
            raise OptionError("a preference holds chances with P_ij + P_ji = 1")
        names = [str(i) for i in range(len(table))] if items is None else list(items)
        if len(names) != len(table) or len(set(names)) < len(names):
            raise OptionError(f"give one name to each of the {len(table)} responses, none of them twice")
        self.table, self._place = table, {name: i for i, name in enumerate(names)}
        self.name = f"matrix {hashlib.sha256(json.dumps([names, table.tolist()]).encode()).hexdigest()[:16]}"

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """What the table says, [n]."""
        return np.asarray(self.table[self._at(first), self._at(second)])

    def _at(self, responses: Sequence[str]) -> list[int]:
        if strange := [y for y in responses if y not in self._place]:
            raise OptionError(f"the response {strange[0][:60]!r} is not in the judge's table; add a row and a column")
        return [self._place[y] for y in responses]


def bradley_terry(first: Array, second: Array) -> Array:
    """sigmoid(first - second): chances [n] of rewards [n]."""
    return np.asarray(sigmoid(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)))


def _try(ask: Callable[..., Any], rows: list[tuple[Any, ...]]) -> tuple[Sequence[Any], str | None, float | None]:
    """What a judge says of these rows; None for each, with the reason and the seconds to wait, where it fails."""
    try:
        values = ask(*(list(column) for column in zip(*rows, strict=True)))
        if len(values) == len(rows):
            return list(values), None, None
        return [None] * len(rows), f"it gave {len(values)} answers to {len(rows)} questions", None
    except Unanswered as error:
        return [None] * len(rows), str(error), error.after
    except (TimeoutError, ConnectionError) as error:
        return [None] * len(rows), f"{type(error).__name__}: {error}".rstrip(": "), None


def _number(value: Any) -> float | None:
    """A finite number, or None: text, truth values and nan are no answers."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return None
    return float(value) if math.isfinite(value) else None


def _chance(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None


def _written(prompt: Prompt | str) -> str:
    return prompt if isinstance(prompt, str) else prompt_key(prompt)


def _key(name: str, kind: str, prompt: Prompt | str, *responses: str) -> str:
    whole = json.dumps([name, kind, _written(prompt), *responses]).encode()
    return hashlib.sha256(whole).hexdigest()[:32]

"""Sums of two-digit numbers in text: a task whose answers can be verified, and a model that gets some of them right."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
QUESTION = re.compile(r"(\d+)\+(\d+)=")
MODEL = {"vocabulary": 263, "hidden": 96, "layers": 3, "heads": 4, "steps": 700, "batch": 128, "learning_rate": 2e-3}


def questions(count: int, *, seed: int = 0) -> list[str]:
    """Different sums of two numbers from 10 to 99.

    >>> len(set(questions(50))), questions(1)[0][-1]
    (50, '=')
    """
    chosen = np.random.default_rng(seed).permutation(90 * 90)[:count]
    return [f"{10 + int(c) // 90}+{10 + int(c) % 90}=" for c in chosen]


def answer(question: str) -> str:
    """What a sum comes to.

    >>> answer("17+25=")
    '42'
    """
    a, b = QUESTION.fullmatch(question).groups()  # type: ignore[union-attr]
    return str(int(a) + int(b))


def exact(question: str, response: str) -> float:
    """1 where the response is the answer and nothing else, else 0: the verifier of this task.

    >>> exact("17+25=", "42"), exact("17+25=", "42.")
    (1.0, 0.0)
    """
    return float(response == answer(question))


def chances(model: Any, tokenizer: Any, asked: Sequence[str]) -> tuple[Array, Array]:
    """The chance that each answer drawn at temperature 1 is exact, and 1 where the most probable answer is, [N] each.

    Read off the model's distributions, so that no luck of drawing is in them.
    """
    import torch

    with torch.no_grad():
        costs, right = _costs(model, *_rows(tokenizer, asked))
    return (-costs.sum(1)).exp().double().numpy(), right.all(1).double().numpy()


def start(
    folder: Path,
    *,
    until: float = 0.4,
    shown: int = 4000,
    steps: int = MODEL["steps"],  # type: ignore[assignment]
    seed: int = 0,
    progress: Callable[[int, int, float], None] = lambda *_: None,
) -> Path:
    """A model that was shown answers until a draw of its own is exact with chance `until`, saved in a folder with its
    tokenizer, which has a token for every character.

    shown: the first so many of `questions(8100, seed=seed)`. The chance is the mean over 500 of them, looked at every
    10 optimizer steps; after `steps` of them it stops anyway, at about 99%.
    """
    from pluralign.lab.tiny import Preset, new_model, train_tokenizer
    from pluralign.policy.load import save

    asked = questions(90 * 90, seed=seed)[:shown]
    sizes = Preset(**MODEL)  # type: ignore[arg-type]
    tokenizer = train_tokenizer(asked, sizes.vocabulary)
    model = new_model(sizes, tokenizer, seed)
    _supervise(model, *_rows(tokenizer, asked), sizes, steps, seed, until, progress)
    save(folder, model, tokenizer)
    return folder


def _rows(tokenizer: Any, asked: Sequence[str]) -> tuple[Any, Any]:
    """Sums with their answers as tokens, [N, T], and what is to be said after each token of the answers, [N, 4]; -100
    after the end."""
    import torch

    blank, end = tokenizer(" ")["input_ids"][-1], tokenizer.eos_token_id
    written = tokenizer([q + answer(q).ljust(3) for q in asked])["input_ids"]
    rows = torch.tensor([[*(end if token == blank else token for token in row), end] for row in written])
    targets = rows[:, -4:].clone()
    targets[(targets == end).cumsum(1) > 1] = -100
    return rows, targets


def _costs(model: Any, rows: Any, targets: Any) -> tuple[Any, Any]:
    """-log of the chance of each token of the answers, 0 after the end, and whether it is the most probable, [N, 4]."""
    import torch

    logits = model(input_ids=rows[:, :-1], use_cache=False).logits[:, -4:].transpose(1, 2)
    costs = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="none")
    return costs, (logits.argmax(1) == targets) | (targets == -100)


def _supervise(
    model: Any,
    rows: Any,
    targets: Any,
    sizes: Any,
    steps: int,
    seed: int,
    until: float,
    progress: Callable[[int, int, float], None],
) -> None:
    """Cross-entropy of the answers alone, until they are drawn with chance `until`."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=sizes.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min((i + 1) / 100, 1.0, 0.05 + 2 * (1 - i / steps))
    )
    draw = torch.Generator().manual_seed(seed)
    model.train()
    for step in range(1, steps + 1):
        some = torch.randint(0, len(rows), (sizes.batch,), generator=draw)
        loss = _costs(model, rows[some], targets[some])[0].sum() / (targets[some] != -100).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        progress(step, steps, float(loss.detach()))
        if step % 10 == 0:
            with torch.no_grad():
                costs, _ = _costs(model, rows[:500], targets[:500])
            if float((-costs.sum(1)).exp().mean()) >= until:
                break
    model.eval()

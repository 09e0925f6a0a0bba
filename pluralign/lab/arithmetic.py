"""Sums of two-digit numbers in text: a task whose answers can be verified, and a model that gets some of them right."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

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


def start(
    folder: Path,
    *,
    steps: int = MODEL["steps"],  # type: ignore[assignment]
    seed: int = 0,
    progress: Callable[[int, int, float], None] = lambda *_: None,
) -> Path:
    """A model that was shown answers to some sums for a short while, saved in a folder with its tokenizer, which has a
    token for every character. With the steps by default it answers about two sums of five.
    """
    import torch

    from pluralign.lab.tiny import Preset, new_model, train_tokenizer
    from pluralign.policy.load import save

    asked = questions(90 * 90, seed=seed)[:6000]
    sizes = Preset(**MODEL)  # type: ignore[arg-type]
    tokenizer = train_tokenizer(asked, sizes.vocabulary)
    model = new_model(sizes, tokenizer, seed)
    rows = [_closed(row, tokenizer) for row in tokenizer([q + answer(q).ljust(3) for q in asked])["input_ids"]]
    _supervise(model, torch.tensor(rows), tokenizer.eos_token_id, sizes, steps, seed, progress)
    save(folder, model, tokenizer)
    return folder


def _closed(row: list[int], tokenizer: Any) -> list[int]:
    """A row with the token that ends a text in place of its blanks, and at its end."""
    blank, end = tokenizer(" ")["input_ids"][-1], tokenizer.eos_token_id
    return [*(end if token == blank else token for token in row), end]


def _supervise(
    model: Any, rows: Any, end: int, sizes: Any, steps: int, seed: int, progress: Callable[[int, int, float], None]
) -> None:
    """Cross-entropy of the answers alone; what follows the first end of a text counts for nothing."""
    import torch

    asked = rows.shape[1] - 4
    targets = rows[:, asked:].clone()
    ended = (targets == end).cumsum(1)
    targets[ended > 1] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=sizes.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min((i + 1) / 100, 1.0, 0.05 + 2 * (1 - i / steps))
    )
    draw = torch.Generator().manual_seed(seed)
    model.train()
    for step in range(1, steps + 1):
        some = torch.randint(0, len(rows), (sizes.batch,), generator=draw)
        logits = model(input_ids=rows[some, :-1], use_cache=False).logits[:, asked - 1 :]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[some].flatten(), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        progress(step, steps, float(loss.detach()))
    model.eval()

"""A reward model that is a language model with a head of one number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign.errors import BadRow, OptionError
from pluralign.feedback import Feedback, read
from pluralign.feedback.record import Message
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded, Encoder
from pluralign.policy.rewards import load_reward, rewards
from pluralign.train.data import sides
from pluralign.train.run import Run

Array = NDArray[np.float64]


class TextReward:
    """Rewards of texts by a classifier of `transformers` with one label, such as `align(..., reward=True)` leaves.

    max_length: of prompt and response in tokens; beginnings of prompts give way. left_out: rows that `margins` could
    not read, by reason; what was cut stands in `encoder.counts`.
    """

    def __init__(self, model: Any, tokenizer: Any, *, max_length: int | None = 1024) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.encoder = Encoder(tokenizer, max_length=max_length)
        self.left_out: Counter[str] = Counter()

    @classmethod
    def load(cls, source: str | Path | Run, *, max_length: int | None = None) -> TextReward:
        """From a run that trained a reward, a folder, or a hub name. Raises `OptionError` if it cannot be had."""
        if isinstance(source, Run) or (Path(source) / "data.json").is_file():
            run = source if isinstance(source, Run) else Run.open(source)
            if not run.finished:
                raise OptionError(f"{run.path} is not finished; continue it with align --resume")
            known = run.config["options"].get("max_length", 1024)
            return cls(*load_reward(str(run.path / "model")), max_length=known if max_length is None else max_length)
        return cls(*load_reward(str(source)), max_length=max_length or 1024)

    def __call__(self, prompt: str | Sequence[Message], responses: Sequence[str | Sequence[Message]]) -> Array:
        """Rewards [n] of responses to a prompt: texts, or messages, which the tokenizer's template renders."""
        asked = (Message(prompt),) if isinstance(prompt, str) else tuple(prompt)
        said = [(Message(r),) if isinstance(r, str) else tuple(r) for r in responses]
        # One at a time: equal responses are no error here.
        return np.concatenate([self._of([self.encoder.encode(asked, [each])]) for each in said])[:, 0]

    def margins(
        self, data: Any, *, batch_size: int = 16, progress: Callable[[int], None] = lambda _: None
    ) -> tuple[Array, NDArray[np.int64]]:
        """Of pairs in any feedback, the reward of the preferred response less that of the other, and their rows.

        Rows without two texts or a preference are left out.
        """
        feedback = data if isinstance(data, Feedback) else read(data)
        rows: list[tuple[int, Encoded]] = []
        for i, j in enumerate(feedback):
            try:
                first = sides(j)[0]
                rows.append((i, self.encoder.encode(j.prompt, [j.responses[k].messages for k in (first, 1 - first)])))
            except BadRow as error:
                self.left_out[error.reason] += 1
        order = sorted(range(len(rows)), key=lambda i: rows[i][1].length)
        found = np.zeros(len(rows))
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            both = self._of([rows[i][1] for i in places])
            found[places] = both[:, 0] - both[:, 1]
            progress(min(start + batch_size, len(order)))
        return found, np.array([i for i, _ in rows], dtype=np.int64)

    @torch.no_grad()
    def _of(self, rows: Sequence[Encoded]) -> Array:
        tokens = collate(rows, pad_id=self.tokenizer.pad_token_id).to(self.model.device)
        return np.asarray(rewards(self.model, tokens).double().cpu().numpy())

"""The prompts that a run keeps out: answered by every round's policy, and what the monitors make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pluralign.online.drawing import Drawing
from pluralign.online.drawn import Drawn, Prompt, hashed
from pluralign.online.inputs import Judges
from pluralign.online.judges import Judge, Recorded
from pluralign.online.monitors import Monitors


class Watching:
    """Watches a run from its start model on. The monitors' questions are answered once too, beside the budget."""

    def __init__(self, drawing: Drawing, prompts: Sequence[Prompt], judges: Judges) -> None:
        self.drawing, self.settings, self.prompts = drawing, drawing.settings, prompts
        if not prompts:
            return
        folder = drawing.folder
        folder.round_path(0).mkdir(parents=True, exist_ok=True)

        def recorded(judge: Judge) -> Judge:
            return Recorded(judge, path=folder.path / f"watched-{hashed(judge.name) % 16**8:08x}.jsonl")

        each = {"proxy": judges.proxy, "independent": judges.independent, "gold": judges.gold}
        first = drawing.plain(prompts, {"reference": 1.0}, 0, "watched")
        self.monitors = Monitors(
            prompts,
            {name: recorded(judge) for name, judge in each.items() if judge is not None},
            {name: recorded(judge) for name, judge in judges.groups.items()},
            first,
            self.settings.monitor_opponents,
        )

    def watch(self, number: int, model: Any, reference: Any) -> dict[str, Any]:
        """Figures of a round's policy; nothing in a round that is not looked at."""
        if not self._looks(number):
            return {}
        drawing = replace(self.drawing, snapshots={**self.drawing.snapshots, "previous": model})
        return self.monitors.watch(self._answers(drawing, number), model, reference)

    def remember(self, number: int) -> None:
        """Take a finished round's answers, which are on disk, for the comparisons to come."""
        if self._looks(number):
            self.monitors.remember(self._answers(self.drawing, number))

    def _answers(self, drawing: Drawing, number: int) -> list[Drawn]:
        return drawing.plain(self.prompts, {"previous": 1.0}, number, "watched")

    def _looks(self, number: int) -> bool:
        every = number % self.settings.monitor_every == 0 or number == self.settings.rounds
        return bool(self.prompts) and every

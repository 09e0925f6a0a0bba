"""The directory of a run that learns while asking, and of its rounds. Importing this needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pluralign.train.run import Run


@dataclass(frozen=True)
class OnlineRun(Run):
    """A run made of rounds. It is a `Run` itself: metrics.jsonl has a line a round, model/ is the last policy.

    round-N/: a run too, with samples*.jsonl (what was drawn, a line a prompt, as it came), feedback.parquet (what the
    judge said of it), metrics.jsonl (a line an optimizer step) and model/. prompts.json: what is asked. answers.jsonl:
    every answer of the judge, answers-NAME.jsonl those of one of several; watched-*.jsonl: those to the monitors'
    questions. round.json in a round is written last.
    """

    @classmethod
    def open(cls, path: str | Path) -> OnlineRun:
        """An existing run; raises `OptionError` if the folder is not one."""
        return cls(Run.open(path).path)

    @property
    def rounds(self) -> list[Run]:
        """Finished rounds, first to last."""
        found: list[Run] = []
        while (folder := self.round_path(len(found) + 1)).joinpath("round.json").is_file():
            found.append(Run(folder))
        return found

    @property
    def ended_after(self) -> int:
        """Rounds after which the run was last brought to its end; 0 where it never was."""
        path = self.path / "finished.json"
        return int(self._read("finished.json")["rounds"]) if path.is_file() else 0

    def round_path(self, number: int) -> Path:
        """The folder of a round, counted from 1."""
        return self.path / f"round-{number}"

    def answers_path(self, judge: str = "reward") -> Path:
        """The file of a judge's answers; of several judges each has its own."""
        return self.path / ("answers.jsonl" if judge == "reward" else f"answers-{judge}.jsonl")

    def feedback(self, number: int) -> Any:
        """What the judge said in a round, as `Feedback`."""
        from pluralign.feedback import read

        return read(self.round_path(number) / "feedback.parquet")

    @property
    def warnings(self) -> list[str]:
        """What the monitors warned of, each once."""
        return list(dict.fromkeys(w for m in self.metrics for w in m.get("warnings", ())))

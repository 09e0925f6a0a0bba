"""A run directory: what `align` writes, `evaluate` adds to, and `report` reads. Importing this needs no torch."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pluralign.errors import OptionError
from pluralign.feedback.storage import whole_file

LIBRARIES = ("pluralign", "torch", "transformers", "accelerate", "peft", "datasets", "polars", "pyarrow", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a run's numbers depend on.

    >>> versions()["python"] == sys.version.split()[0]
    True
    """
    found = {"python": sys.version.split()[0]}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found


@dataclass(frozen=True)
class Run:
    """The directory of one run.

    config.json: options as given and resolved, versions, command. data.json: what was read, kept, cut and split.
    metrics.jsonl: one object a logged step. heldout.parquet: the rows kept for evaluation. model/: the result.
    reference.json: what it is compared with. checkpoint-N/, evaluation/NAME.json, report.html.
    """

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """An existing run; raises `OptionError` if the folder is not one."""
        run = cls(Path(path))
        if not (run.path / "config.json").is_file():
            raise OptionError(f"{path} is not a run: it has no config.json; give the folder that align wrote")
        return run

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.resolve().name

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return (self.path / "model").is_dir()

    @cached_property
    def config(self) -> dict[str, Any]:
        """`options` (as `--config` takes them), `objective`, `objective_options`, `training`, `versions`, `command`."""
        return self._read("config.json")

    @cached_property
    def data(self) -> dict[str, Any]:
        """Source, reading report, split, and rows used, dropped and cut by reason."""
        return self._read("data.json")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Logged steps in order; each has `step`, `split` ("train" or "eval") and the metrics."""
        path = self.path / "metrics.jsonl"
        # A line that does not end was being written when the run was killed.
        lines = path.read_text().split("\n")[:-1] if path.is_file() else []
        return [json.loads(line) for line in lines]

    @cached_property
    def reference(self) -> dict[str, Any]:
        """The model that training started from: `name`, `path` within the run where it is kept there, `fingerprint`."""
        return self._read("reference.json")

    @property
    def objective(self) -> Any:
        """The objective the run was trained with."""
        from pluralign.train.options import objective_of

        return objective_of(self.config["objective"], reward=self.is_reward)

    @property
    def objective_options(self) -> dict[str, Any]:
        """Its options, all of them."""
        return dict(self.config["objective_options"])

    @property
    def is_reward(self) -> bool:
        """Whether it trained a reward model."""
        return bool(self.config["options"].get("reward"))

    def heldout(self) -> Any:
        """The rows kept out of training, as `Feedback`; raises `OptionError` if there are none."""
        from pluralign.feedback import read

        path = self.path / "heldout.parquet"
        if not path.is_file():
            raise OptionError(f"{self.path} kept no rows out; give evaluate some data of its own")
        return read(path)

    def evaluations(self) -> dict[str, dict[str, Any]]:
        """Evaluations by name."""
        return {p.stem: json.loads(p.read_text()) for p in sorted((self.path / "evaluation").glob("*.json"))}

    def load_model(self) -> tuple[Any, Any]:
        """The aligned model (adapters merged in place of loading twice) and its tokenizer."""
        from pluralign.policy.load import load

        if not self.finished:
            raise OptionError(f"{self.path} is not finished; continue it with align --resume")
        if self.is_reward:
            raise OptionError(
                f"{self.path} holds a reward model, which says nothing; open it with pluralign.train.TextReward.load"
            )
        return load(str(self.path / "model"))

    def load_reference(self) -> Any:
        """The model that training started from."""
        from pluralign.policy.load import load

        kept = self.reference["path"]
        model, _ = load(str(self.path / kept) if kept else self.reference["name"])
        return model

    def write(self, name: str, values: dict[str, Any]) -> None:
        """Write one of the JSON files whole."""
        with whole_file(self.path / name) as temporary:
            temporary.write_text(json.dumps(values, indent=2, default=str) + "\n")

    def log(self, values: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop metrics of later steps: training goes on from this one and will write them again."""
        kept = [m for m in self.metrics if m["step"] <= step]
        with whole_file(self.path / "metrics.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(m) + "\n" for m in kept))

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        if not path.is_file():
            raise OptionError(f"{self.path} has no {name}; it is not a run, or it was stopped before its first step")
        values: dict[str, Any] = json.loads(path.read_text())
        return values


def is_main() -> bool:
    """Whether this is the process that writes."""
    return int(os.environ.get("RANK", "0")) == 0

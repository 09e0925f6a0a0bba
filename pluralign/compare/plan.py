"""What a comparison will do: its cells, one a training run, and how long each may take."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pluralign.errors import OptionError
from pluralign.feedback.storage import whole_file
from pluralign.objectives import Objective, find

Grid = Mapping[str, Sequence[Mapping[str, Any]]]
"""Objective -> the settings to try."""

THIRDS = (1.0, 1 / 3, 3.0)
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "one": {"learning_rate": (1.0,)},
    "small": {"learning_rate": THIRDS},
    "wide": {"learning_rate": THIRDS, "beta": THIRDS},
}
"""Factors on what is usual. The usual value stands first, and an objective without a beta has none to vary."""

_LENGTH = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@dataclass(frozen=True)
class Cell:
    """One training run: an objective, its options and training arguments, a seed."""

    objective: str
    options: dict[str, Any]
    seed: int

    @property
    def name(self) -> str:
        """A folder's name: readable, and its own for every cell."""
        text = json.dumps(asdict(self), sort_keys=True)
        readable = re.sub(r"[^a-z0-9_]+", "-", self.objective.lower()).strip("-")[:40]
        return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def setting(self) -> str:
        """Its options in words."""
        return ", ".join(f"{name} {value:.3g}" for name, value in self.options.items())


@dataclass(frozen=True)
class Plan:
    """Everything that all cells share, as it stands in plan.json. steps: optimizer steps, the same for each.

    options: of `align`, for all. samples, max_new_tokens, cluster, scorer: of `evaluate`.
    """

    data: str
    model: str
    steps: int
    options: dict[str, Any]
    samples: int
    max_new_tokens: int
    cluster: str
    scorer: str | None

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """The plan in a folder."""
        return cls(**json.loads((folder / "plan.json").read_text()))

    def write(self, folder: Path) -> None:
        """Write it whole."""
        with whole_file(folder / "plan.json") as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")


def cells(
    objectives: Sequence[str], grid: str | Grid, seeds: int, learning_rate: Callable[[Objective], float]
) -> list[Cell]:
    """All cells, every objective's usual setting first, so that a comparison that is cut short has one of each.

    grid: a name of `GRIDS`, or settings. learning_rate: the usual one of an objective. Raises `OptionError` for an
    unknown objective or option.

    >>> [cell.setting for cell in cells(["dpo"], "small", 1, lambda goal: 3e-4)]
    ['learning_rate 0.0003', 'learning_rate 0.0001', 'learning_rate 0.0009']
    """
    if not objectives:
        raise OptionError("name at least one objective to compare")
    if twice := [name for name in objectives if list(objectives).count(name) > 1]:
        raise OptionError(f"{twice[0]} is named twice among the objectives")
    if seeds < 1:
        raise OptionError(f"a comparison needs at least one seed, got {seeds}")
    columns = [settings(name, grid, learning_rate(find(name))) for name in objectives]
    rounds = itertools.zip_longest(*columns)
    return [
        Cell(name, setting, seed)
        for each in rounds
        for seed in range(seeds)
        for name, setting in zip(objectives, each, strict=True)
        if setting is not None
    ]


def settings(objective: str, grid: str | Grid, learning_rate: float) -> list[dict[str, Any]]:
    """The settings of one objective; see `cells`."""
    goal = find(objective)
    if not isinstance(grid, str):
        if objective not in grid or not grid[objective]:
            raise OptionError(f"the grid has no settings for {objective}; give each objective a list of options")
        return [{"learning_rate": learning_rate, **_known(goal, setting)} for setting in grid[objective]]
    if grid not in GRIDS:
        raise OptionError(f"there is no grid '{grid}'; there are {', '.join(GRIDS)}, or a YAML file of settings")
    usual = {"learning_rate": learning_rate}
    beta = goal.options.model_fields.get("beta")
    if beta is not None and isinstance(beta.default, float) and beta.default > 0:
        usual["beta"] = beta.default
    factors = {name: GRIDS[grid][name] for name in GRIDS[grid] if name in usual}
    return [
        {name: float(f"{usual[name] * factor:.6g}") for name, factor in zip(factors, row, strict=True)}
        for row in itertools.product(*factors.values())
    ]


def _known(goal: Any, setting: Mapping[str, Any]) -> dict[str, Any]:
    """A setting from outside, checked: options of the objective, and the trainer's own names as they are."""
    goal.checked({name: value for name, value in setting.items() if name in goal.options.model_fields})
    return dict(setting)


def read_grid(text: str) -> str | dict[str, list[dict[str, Any]]]:
    """A grid's name as it is; a YAML file as its settings."""
    path = Path(text)
    if text in GRIDS or path.suffix not in (".yaml", ".yml", ".json"):
        return text
    from pluralign.train.options import read_config

    values = read_config(path)
    good = all(isinstance(v, list) and all(isinstance(s, dict) for s in v) for v in values.values())
    if not good:
        raise OptionError(f"the grid {text} should hold, for each objective, a list of option: value mappings")
    return values


def budget(text: str) -> tuple[float | None, int | None]:
    """Seconds, or steps a cell: "30m", "1h30m", "200 steps".

    >>> budget("1h30m"), budget("200 steps")
    ((5400.0, None), (None, 200))
    """
    if found := re.fullmatch(r"(\d+) ?steps?", text.strip()):
        if int(found[1]) < 1:
            raise OptionError("a budget of 0 steps trains nothing")
        return None, int(found[1])
    parts = _LENGTH.fullmatch(text.strip())
    seconds = sum(int(n or 0) * unit for n, unit in zip(parts.groups(), (3600, 60, 1), strict=True)) if parts else 0
    if not seconds:
        raise OptionError(f"the budget '{text}' is not a length such as 30m or 1h30m, nor '200 steps'")
    return float(seconds), None

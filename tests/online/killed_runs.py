"""Runs that are killed at planted points and gone on with; started as a program of its own by test_killed.py.

Every run is a process forked from this one, which has one thread. A line for each sample and each question goes to a
file that survives the kills.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from plain_sampler import PlainSampler

from pluralign.online import fitting, loop, rounds, snapshots, watching
from pluralign.online.fitting import Fit
from pluralign.online.judges import Recorded, Scored
from pluralign.policy.reference import weights_fingerprint

PROMPTS = [f"Say {word}: " for word in ("red", "blue", "green", "grey", "pink", "gold")]
OPTIONS: dict[str, Any] = {
    "rounds": 2, "max_new_tokens": 3, "monitor_prompts": 2, "minibatch": 1, "save_steps": 2, "epochs": 2,
    "learning_rate": 1e-2, "attempts": 1,
}  # fmt: skip


def told(folder: Path, what: str, count: int) -> None:
    with (folder / "paid.txt").open("a") as file:
        file.write(f"{what}\n" * count)


def work(folder: Path, learner: str, point: str | None, nth: int) -> None:
    """One run; at the n-th passing of the point the process is gone."""
    passed = 0

    def here(name: str) -> None:
        nonlocal passed
        if name == point:
            passed += 1
            if passed == nth:
                os._exit(9)

    class Counted(PlainSampler):
        def sample(self, prompts: Any, seeds: Any) -> Any:
            # What is paid for is on disk prompt by prompt, so a kill loses no more than the prompt in hand.
            for place in range(len(prompts)):
                here("sampling")
                for _, drawn in super().sample(prompts[place : place + 1], seeds[place : place + 1]):
                    told(folder, "sample", len(drawn.samples))
                    yield place, drawn

    class Judge(Scored):
        def prob(self, prompts: Any, first: Any, second: Any) -> Any:
            here("judging")
            told(folder, "question", len(first))
            return super().prob(prompts, first, second)

    def before(owner: Any, name: str, where: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def wrapped(*given: Any, **named: Any) -> Any:
            here(where)
            return original(*given, **named)

        setattr(owner, name, wrapped)

    class Rewards(Judge):
        def reward(self, prompts: Any, responses: Any) -> Any:
            here("judging")
            told(folder, "question", len(responses))
            return super().reward(prompts, responses)

    before(Fit, "_step", "learning")
    before(fitting, "save", "checkpoint")
    before(rounds, "save", "stage")
    before(snapshots, "save", "stage")
    before(rounds, "save_model", "model")
    before(rounds.Run, "write", "record")
    before(loop.OnlineRun, "log", "metrics")
    before(watching.Monitors, "watch", "monitors")
    once = Recorded.__init__

    def small(self: Any, *given: Any, **named: Any) -> None:
        once(self, *given, **{**named, "batch": 2})

    Recorded.__init__ = small  # type: ignore[method-assign]
    kind = Rewards if learner == "constrained" else Judge
    judge: Any = kind(lambda prompt, response: float(sum(letter in "aeiou" for letter in response)), name="vowels")
    begun = (folder / "run" / "config.json").is_file()
    settings = {**OPTIONS, "samples": 3} if learner == "grpo" else dict(OPTIONS)
    if learner == "constrained":
        judge = {"vowels": judge, "brief": kind(lambda prompt, response: -float(len(response)), name="brief")}
        settings |= {"thresholds": [1.0, -2.0], "rate": 1.0}
    loop.run(
        PROMPTS, str(folder.parent / "start"), learner, judge=judge, output_dir=folder / "run", resume=begun,
        sampler=Counted, **settings,
    )  # fmt: skip


def forked(folder: Path, learner: str, point: str | None, nth: int) -> int:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            work(folder, learner, point, nth)
        except BaseException as error:
            (folder / "error.txt").write_text(repr(error))
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ended(folder: Path) -> dict[str, Any]:
    """What a finished run cost and came to."""
    from pluralign.policy.load import load

    paid = (folder / "paid.txt").read_text().split()
    model, _ = load(str(folder / "run" / "model"))
    metrics = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [(folder / "run" / f"round-{n}" / "metrics.jsonl").read_text() for n in (1, 2)]
    return {
        "samples": paid.count("sample"), "questions": paid.count("question"), "weights": weights_fingerprint(model),
        "metrics": metrics, "steps": steps,
    }  # fmt: skip


def main(root: Path, learner: str, points: list[tuple[str, int]]) -> None:
    torch.set_num_threads(1)
    from pluralign.lab.tiny import build
    from pluralign.policy.load import save

    model, tokenizer = build("tiny", PROMPTS, steps=2)
    save(root / "start", model, tokenizer)
    found: dict[str, Any] = {}
    for point, nth in [("", 0), *points]:
        folder = root / f"{point or 'unbroken'}-{nth}"
        folder.mkdir()
        status = forked(folder, learner, point or None, nth)
        again = forked(folder, learner, None, 0) if status == 9 else None
        error = (folder / "error.txt").read_text() if (folder / "error.txt").is_file() else None
        found[folder.name] = {"status": status, "again": again, "error": error}
        if error is None:
            found[folder.name] |= ended(folder)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [(p, int(n)) for p, _, n in (each.partition(":") for each in sys.argv[3:])])

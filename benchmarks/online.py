"""Learning while asking, end to end: people of two tastes under one budget of questions, and sums that can be verified.

`python -m benchmarks.online` writes docs/online-benchmark.md and docs/online-benchmark.png (a few minutes of one core a
seed; --seeds for fewer). Cells that stand in benchmarks/results/online.json are not repeated.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import online_page
from pluralign.feedback.storage import whole_file
from pluralign.lab import arithmetic, people
from pluralign.lab.tiny import build, written
from pluralign.online import OnlineRun, run
from pluralign.online.drawn import collect, hashed, words
from pluralign.online.judges import Scored
from pluralign.online.samplers import PolicySampler
from pluralign.policy.load import load, save

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "online.json"
SHARE = 0.6
"""Of people who are brief; the others are warm and full."""
QUESTIONS, ROUNDS = 768, 8
BRIEF = Scored(people.BRIEF.utility, name="brief people")
WARM = Scored(people.WARM_AND_FULL.utility, name="warm people")
GROUPS = {"brief": BRIEF, "warm": WARM}
SHARED: dict[str, Any] = {"learning_rate": 5e-4, "max_new_tokens": 90, "monitor_prompts": 48, "monitor_opponents": 2}
PEOPLE: dict[str, tuple[int, dict[str, Any]]] = {
    "dpo": (1, {"samples": 2, "minibatch": 16, "beta": 0.1, "learning_rate": 2e-4}),
    "inpo": (1, {"samples": 2, "minibatch": 16, "eta": 0.1, "tau": 0.03, "learning_rate": 4e-4}),
    "grpo": (6, {"samples": 4, "minibatch": 4, "beta": 0.02}),
    "ppo": (1, {"samples": 2, "minibatch": 24, "beta": 0.02, "epochs": 2}),
}
"""Learner -> questions a prompt, options. Where rewards are wanted they are win rates within the group."""
POOL = {"shown": 4000, "training": 1152, "never seen": 1000}
"""How many sums the start model is shown, the learners are trained on, and nobody is trained on."""
STEPS: dict[str, Any] = {"rounds": 3, "prompts_per_round": 384, "minibatch": 48, "micro_batch": 48}
STEPS |= {"learning_rate": 3e-4, "warmup_steps": 8}
SUMS: dict[str, tuple[str, dict[str, Any]]] = {
    "grpo": ("grpo", {}),
    "raft": ("raft", {"threshold": 1.0}),
    "unchecked": ("raft", {"threshold": 0.0}),
}
"""Title -> learner, options beside `STEPS`. The last is the control: every answer passes, right or wrong."""
WATCHED = {"monitor_prompts": 8, "monitor_opponents": 0, "monitor_every": 1000, "max_new_tokens": 5, "samples": 8}


class Crowd:
    """Every question is answered by one person of the crowd, drawn by the question: yes or no, by Bradley-Terry."""

    name = f"one person at a time, {SHARE:.0%} brief"

    def prob(self, prompts: Sequence[Any], first: Sequence[str], second: Sequence[str]) -> np.ndarray[Any, Any]:
        """0 or 1 for every question, the same whenever it is asked."""
        found = []
        for prompt, a, b in zip(prompts, first, second, strict=True):
            draw = np.random.default_rng(hashed(words(prompt), a, b))
            person = BRIEF if draw.random() < SHARE else WARM
            found.append(float(draw.random() < person.prob([prompt], [a], [b])[0]))
        return np.array(found)


class Truth:
    """The exact chance that a person drawn from the crowd prefers a response."""

    name = "the crowd, exactly"

    def prob(self, prompts: Sequence[Any], first: Sequence[str], second: Sequence[str]) -> np.ndarray[Any, Any]:
        """Chances [n]."""
        return SHARE * BRIEF.prob(prompts, first, second) + (1 - SHARE) * WARM.prob(prompts, first, second)


def asked(count: int, seed: int) -> list[str]:
    """Questions to the lab's people."""
    return [question + "\n" for question, _ in people.questions(count, np.random.default_rng(seed))]


def people_start(folder: Path) -> Path:
    """A model that writes as the lab's answers are written, not as anybody likes them."""
    feedback = people.simulate(1200, seed=1)
    texts = sorted({written((*j.prompt, *r.messages)) for j in feedback for r in j.responses})
    save(folder, *build("tiny", texts, steps=400))
    return folder


def people_cell(root: Path, start: Path, learner: str, seed: int) -> dict[str, Any]:
    """One learner among the people: its questions, then 240 fresh prompts against the start, judged exactly."""
    every = asked(480, seed)
    training, held_out = every[:240], every[240:]
    questions, options = PEOPLE[learner]
    size = QUESTIONS // ROUNDS // questions
    done, spent = timed(
        root, f"people-{learner}-{seed}", training, start, learner, judge=Crowd(), gold=Truth(), seed=seed,
        rounds=ROUNDS, prompts_per_round=size, monitor_every=2, keep_every=ROUNDS, **{**SHARED, **options},
    )  # fmt: skip
    ours, theirs = (texts(path, held_out, seed, 90) for path in (done.path / "model", start))
    judges = {"gold": Truth(), **GROUPS}
    won = {name: judge.prob(held_out, ours, theirs).round(4).tolist() for name, judge in judges.items()}
    last = [m for m in done.metrics if "kl" in m][-1]
    asked_of = done.metrics[-1]["judge/asked"]
    figures = {name: last[name] for name in ("kl", "entropy", "length", "gap", "gap_high") if name in last}
    curve = [[m["judge/asked"], m["gold/win_rate"]] for m in done.metrics if "gold/win_rate" in m]
    return {"won": won, "questions": asked_of, "cpu_seconds": spent, "samples": drawn(done), "curve": curve, **figures}


def sums_cell(root: Path, start: Path, title: str, seed: int) -> dict[str, Any]:
    """One learner on sums that the start model was not shown, each asked once; the chance of an exact answer to 500 of
    them and to those that nobody was trained on, before and after."""
    every = arithmetic.questions(8100, seed=seed)
    training = every[POOL["shown"] :][: POOL["training"] + int(WATCHED["monitor_prompts"])]
    learner, options = SUMS[title]
    done, spent = timed(
        root, f"sums-{title}-{seed}", training, start, learner, judge=Scored(arithmetic.exact, name="exact answer"),
        seed=seed, keep_every=1000, **{**WATCHED, **STEPS, **options},
    )  # fmt: skip
    right = {}
    for name, path in (("start", start), ("end", done.path / "model")):
        policy, tokenizer = load(str(path))
        for where, some in (("trained on", asked_of(done)[:500]), ("never seen", every[-POOL["never seen"] :])):
            chance, best = arithmetic.chances(policy, tokenizer, some)
            right[f"{name}, {where}"] = chance.round(3).tolist()
            right[f"{name}, {where}, most probable"] = float(best.mean())
    curve = [[m["round"] / len(done.metrics), m["samples/reward"]] for m in done.metrics]
    last = [m for m in done.metrics if "entropy" in m][-1]
    more = {"entropy": last["entropy"], "kl": last["kl"], "samples": drawn(done), "cpu_seconds": spent}
    return {"right": right, "curve": curve, "questions": done.metrics[-1]["judge/asked"], **more}


def timed(
    root: Path, name: str, prompts: Sequence[str], start: Path, learner: str, **given: Any
) -> tuple[OnlineRun, float]:
    """A run, and the seconds of CPU it took."""
    began = time.process_time()
    done = run(list(prompts), start, learner, output_dir=root / name, **given)
    return done, time.process_time() - began


def asked_of(done: OnlineRun) -> list[str]:
    """The prompts that were trained on, as plain texts, in an order that has nothing to do with how they went."""
    return sorted({json.loads(line["prompt"])[0][1] for line in _lines(done)}, key=hashed)


def drawn(done: OnlineRun) -> int:
    """Responses drawn to learn from."""
    return sum(len(line["samples"]) for line in _lines(done))


def _lines(done: OnlineRun) -> list[dict[str, Any]]:
    return [json.loads(line) for own in done.rounds for line in (own.path / "samples-0.jsonl").read_text().splitlines()]


def texts(model: Path, prompts: Sequence[str], seed: int, most: int, temperature: float = 1.0) -> list[str]:
    """One response of a model to each prompt."""
    from pluralign.online.asking import as_prompt

    policy, tokenizer = load(str(model))
    settings = {"max_new_tokens": most, "temperature": temperature}
    sampler = PolicySampler({"policy": policy}, tokenizer, {"policy": 1.0}, 1, settings)
    return [d.samples[0].text for d in collect(sampler, [as_prompt(p) for p in prompts], seed=seed)]


def cells(seeds: int) -> Iterator[tuple[str, str, int]]:
    """Part, learner and seed of every cell, a seed of everything before the next."""
    for seed in range(seeds):
        yield from (("sums", learner, seed) for learner in SUMS)
        yield from (("people", learner, seed) for learner in PEOPLE)


def started(root: Path, part: str, seed: int) -> tuple[Path, float]:
    """Where the start model of a seed is, and the seconds of CPU that making it took, 0 if it was there."""
    folder = root / (f"sums-start-{seed}" if part == "sums" else "people-start")
    began = time.process_time()
    if folder.is_dir():
        return folder, 0.0
    making = folder.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    if part == "people":
        people_start(making)
    else:
        arithmetic.start(making, shown=POOL["shown"], seed=seed)
    making.rename(folder)
    return folder, time.process_time() - began


def keep(name: str, cell: dict[str, Any]) -> dict[str, Any]:
    """Add a cell to the results on disk, where other cells may have come from another process meanwhile."""
    found = (json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}) | {name: cell}
    with whole_file(RESULTS) as temporary:
        temporary.write_text(
            "{\n" + ",\n".join(f"{json.dumps(n)}: {json.dumps(found[n])}" for n in sorted(found)) + "\n}\n"
        )
    return found


def main() -> None:
    """Run what is missing, then write the page."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--only", default="", help="cells whose name begins so")
    options.add_argument("--page", action="store_true", help="only write the page from the results that are there")
    given = options.parse_args()
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    root = Path(tempfile.gettempdir()) / "pluralign-online"
    root.mkdir(exist_ok=True)
    for part, learner, seed in [] if given.page else cells(given.seeds):
        name = f"{part} {learner} {seed}"
        if name in found or not name.startswith(given.only):
            continue
        start, spent = started(root, part, seed)
        if spent:
            found = keep(f"start {part} {seed}", {"cpu_seconds": spent})
        shutil.rmtree(root / f"{part}-{learner}-{seed}", ignore_errors=True)
        found = keep(name, (people_cell if part == "people" else sums_cell)(root, start, learner, seed))
        print(f"{name}: {found[name]['cpu_seconds']:.0f} s", flush=True)
    online_page.write(found, QUESTIONS, POOL)


if __name__ == "__main__":
    main()

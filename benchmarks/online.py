"""Learning while asking, end to end: people of two tastes under one budget of questions, and sums that can be verified.

`python -m benchmarks.online` writes docs/online-benchmark.md and docs/online-benchmark.png (under thirty minutes of one
core; --seeds for fewer). Cells that stand in benchmarks/results/online.json are not repeated.
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
QUESTIONS, ROUNDS = 384, 4
BRIEF = Scored(people.BRIEF.utility, name="brief people")
WARM = Scored(people.WARM_AND_FULL.utility, name="warm people")
GROUPS = {"brief": BRIEF, "warm": WARM}
SHARED: dict[str, Any] = {"learning_rate": 5e-4, "max_new_tokens": 90, "monitor_prompts": 48, "monitor_opponents": 2}
PEOPLE: dict[str, tuple[int, dict[str, Any]]] = {
    "dpo": (1, {"samples": 2, "minibatch": 16, "beta": 0.1}),
    "inpo": (1, {"samples": 2, "minibatch": 16, "eta": 0.1, "tau": 0.03}),
    "grpo": (6, {"samples": 4, "minibatch": 4, "beta": 0.02}),
    "ppo": (1, {"samples": 2, "minibatch": 24, "beta": 0.02, "epochs": 2}),
}
"""Learner -> questions a prompt, options. Where rewards are wanted they are win rates within the group."""
SUMS: dict[str, dict[str, Any]] = {
    "grpo": {"rounds": 12, "micro_batch": 128, "learning_rate": 3e-4},
    "raft": {"rounds": 6, "minibatch": 128, "micro_batch": 128, "epochs": 3, "threshold": 1.0, "learning_rate": 3e-4},
}
WATCHED = {"monitor_prompts": 8, "monitor_opponents": 0, "max_new_tokens": 5, "samples": 8, "warmup_steps": 10}


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
    """One learner among the people: 768 questions, then 400 fresh prompts against the reference, judged exactly."""
    every = asked(480, 5)
    training, held_out = every[:240], every[240:]
    questions, options = PEOPLE[learner]
    size = QUESTIONS // ROUNDS // questions
    done, spent = timed(
        root, f"people-{learner}-{seed}", training, start, learner, judge=Crowd(), gold=Truth(), seed=seed,
        rounds=ROUNDS, prompts_per_round=size, monitor_every=2, keep_every=ROUNDS, **SHARED, **options,
    )  # fmt: skip
    ours, theirs = (texts(path, held_out, seed, 90) for path in (done.path / "model", start))
    won = {name: judge.prob(held_out, ours, theirs).tolist() for name, judge in {"gold": Truth(), **GROUPS}.items()}
    last = [m for m in done.metrics if "kl" in m][-1]
    asked_of = done.metrics[-1]["judge/asked"]
    figures = {name: last[name] for name in ("kl", "entropy", "length", "gap", "gap_high") if name in last}
    curve = [[m["judge/asked"], m["gold/win_rate"]] for m in done.metrics if "gold/win_rate" in m]
    return {"won": won, "questions": asked_of, "cpu_seconds": spent, "samples": drawn(done), "curve": curve, **figures}


def sums_cell(root: Path, start: Path, learner: str, seed: int) -> dict[str, Any]:
    """One learner on 128 sums: exact answers on these and on 1,000 that nobody was trained on, before and after."""
    every = arithmetic.questions(8100)
    training, held_out = every[6000:6136], every[7100:]
    judge = Scored(arithmetic.exact, name="exact answer")
    done, spent = timed(
        root, f"sums-{learner}-{seed}", training, start, learner, judge=judge, seed=seed, keep_every=1000,
        **{"monitor_every": 1000, **WATCHED, **SUMS[learner]},
    )  # fmt: skip
    right = {
        f"{name}, {where}": [arithmetic.exact(q, a) for q, a in zip(asked_, texts(path, asked_, seed, 5), strict=True)]
        for name, path in (("start", start), ("end", done.path / "model"))
        for where, asked_ in (("trained on", training * 4), ("never seen", held_out))
    }
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


def drawn(done: OnlineRun) -> int:
    """Responses drawn to learn from."""
    lines = [
        json.loads(line) for own in done.rounds for line in (own.path / "samples-0.jsonl").read_text().splitlines()
    ]
    return sum(len(line["samples"]) for line in lines)


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


def main() -> None:
    """Run what is missing, then write the page."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--only", default="", help="cells whose name begins so")
    options.add_argument("--page", action="store_true", help="only write the page from the results that are there")
    given = options.parse_args()
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    root = Path(tempfile.gettempdir()) / "pluralign-online"
    starts: dict[str, Path] = {"sums": root / "sums-start", "people": root / "people-start"}
    for part, learner, seed in [] if given.page else cells(given.seeds):
        name = f"{part} {learner} {seed}"
        if name in found or not name.startswith(given.only):
            continue
        if not (start := starts[part]).is_dir():
            (people_start if part == "people" else arithmetic.start)(start)
        shutil.rmtree(root / f"{part}-{learner}-{seed}", ignore_errors=True)
        cell = (people_cell if part == "people" else sums_cell)(root, start, learner, seed)
        # Other cells may have come from another process meanwhile.
        found = (json.loads(RESULTS.read_text()) if RESULTS.is_file() else found) | {name: cell}
        with whole_file(RESULTS) as temporary:
            temporary.write_text(json.dumps(found, indent=0) + "\n")
        print(f"{name}: {found[name]['cpu_seconds']:.0f} s", flush=True)
    online_page.write(found, QUESTIONS)


if __name__ == "__main__":
    main()

"""The speed of a DPO step beside TRL's `DPOTrainer`: same weights, rows and order, fp32, one thread, taking turns.

    python -m benchmarks.train step A      # also B; --precomputed, --checkpointing, --steps 20, --rounds 5
    python -m benchmarks.train reference   # log-probs of the reference computed beforehand
    python -m benchmarks.train memory      # peaks, each side in a process of its own
    python -m benchmarks.train curves      # against prompt length, model size and number of responses
    python -m benchmarks.train page        # docs/train-speed.md and its pictures from what the others found

Seconds are the process's CPU time, so that whatever else the machine does counts little; elapsed time is kept beside
it. Results go to benchmarks/results/train/NAME.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import subprocess
import sys
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import datasets
import torch
import transformers

from benchmarks import train_sides as sides
from benchmarks.train_bound import Row, distinct, operations, padded
from pluralign.objectives import find
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded, Encoder
from pluralign.policy.logprobs import logprobs
from pluralign.policy.reference import ReferenceCache

RESULTS = Path(__file__).parent / "results" / "train"
LENGTHS = (64, 128, 256, 512, 1024, 2048)
WIDTHS = (128, 256, 512, 768, 1024)
MODELS = {"A": (512, 8192), "vocabulary": (256, 131072)}
"""Width and vocabulary where memory is measured."""
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
"""Otherwise glibc keeps freed blocks of up to 32 MB for itself, some hundred megabytes of them on either side."""


def step(name: str, steps: int, rounds: int, precomputed: bool, checkpointing: bool) -> None:
    """Train both sides, in turn."""
    tokenizer, start = sides.words_tokenizer(8192), sides.llama()
    rows = sides.texts(*sides.SETS[name], steps * sides.BATCH, 8192)
    rest: dict[str, Any] = {"max_steps": steps, "gradient_checkpointing": checkpointing}
    theirs = sides.peer(copy.deepcopy(start), rows, tokenizer, precompute=precomputed, **rest)
    reference = beforehand(start, rows, tokenizer) if precomputed else None
    mine = sides.ours(copy.deepcopy(start), rows, tokenizer, reference=reference, **rest)
    encodings = [row.encoded for row in mine.train_dataset.rows]
    lengths = [(len(e.prompt_ids), [len(ids) for ids in e.response_ids]) for e in encodings]
    a, b = sides.take_turns(theirs, mine, steps // rounds)
    peer_count, our_count = padded(lengths, sides.BATCH), distinct(lengths)
    counted = [
        operations(count, start.config, reference=not precomputed, checkpointing=checkpointing)
        for count in (peer_count, our_count)
    ]
    name += "-precomputed" * precomputed + "-checkpointing" * checkpointing
    found = {
        "steps": steps,
        "pairs_a_turn": steps // rounds * sides.BATCH,
        "peer": vars(a),
        "ours": vars(b),
        "bound": counted[0] / counted[1],
        "positions": [peer_count.positions / len(rows), our_count.positions / len(rows)],
        "head": [peer_count.head / len(rows), our_count.head / len(rows)],
        "loss_difference": max(abs(x - y) for x, y in zip(a.losses, b.losses, strict=True)),
        "weights": weights_apart(theirs.model, mine.model, start),
    }
    keep(name, found)
    print(name, "ratio", median(a.cpu) / median(b.cpu), "bound", found["bound"], found["weights"])


def weights_apart(theirs: Any, mine: Any, start: Any) -> dict[str, float]:
    """How far the two results are from each other, against their size and against the way they came."""
    ends = [torch.cat([p.detach().flatten() for p in model.parameters()]).double() for model in (theirs, mine, start)]
    apart = (ends[0] - ends[1]).norm()
    return {"of_weights": float(apart / ends[0].norm()), "of_change": float(apart / (ends[0] - ends[2]).norm())}


def beforehand(model: Any, rows: sides.Texts, tokenizer: Any) -> Any:
    """Our reference log-probs of all rows."""
    with TemporaryDirectory() as folder:
        return ReferenceCache(folder).get(model, encoded(rows, tokenizer)).copy()


def encoded(rows: sides.Texts, tokenizer: Any) -> list[Encoded]:
    """Rows as tokens."""
    from pluralign.feedback.record import text

    encoder = Encoder(tokenizer)
    return [encoder.encode(text(r["prompt"]), [text(r["chosen"]), text(r["rejected"])]) for r in rows]


def reference(name: str, rounds: int) -> None:
    """The reference's log-probs of a set beforehand, in turn, new rows in each round."""
    datasets.disable_progress_bars()
    tokenizer, model = sides.words_tokenizer(8192), sides.llama()
    rows = sides.texts(*sides.SETS[name], rounds * 2 * sides.BATCH, 8192)
    trainer = sides.peer(copy.deepcopy(model), rows, tokenizer)
    trainer._precompute_model_hash = f"{platform.node()}-{os.getpid()}"
    parts = iter(range(rounds))
    part = 0

    def theirs() -> None:
        nonlocal part
        part = next(parts)
        chosen = trainer.train_dataset.select(range(part * 2 * sides.BATCH, (part + 1) * 2 * sides.BATCH))
        trainer._precompute_ref_logps(chosen, "train", sides.BATCH)

    def mine() -> None:
        beforehand(model, rows[part * 2 * sides.BATCH : (part + 1) * 2 * sides.BATCH], tokenizer)

    a, b = sides.alternating([theirs, mine], rounds)
    keep(f"reference-{name}", {"pairs_a_turn": 2 * sides.BATCH, "peer": {"cpu": a}, "ours": {"cpu": b}})


def memory(names: list[str]) -> None:
    """Peaks of both sides, on set A and with a vocabulary of 128k, the reference in each step or beforehand.

    Each with the C library's allocator as it is, and with one that gives back at once what is no longer used.
    """
    for model, when, allocator in product(MODELS, ("", "-precomputed"), ("", "-given-back")):
        name = model + when + allocator
        if names and name not in names:
            continue
        hidden, vocabulary = MODELS[model]
        found = {}
        for side in ("peer", "ours"):
            command = [sys.executable, "-m", "benchmarks.train", "peak", side, str(hidden), str(vocabulary)]
            command += ["--precomputed"] if when else []
            environment = os.environ | (GIVEN_BACK if allocator else {})
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
            found[side] = json.loads(done.stdout.splitlines()[-1])
        keep(f"memory-{name}", {"hidden": hidden, "vocabulary": vocabulary, **found})


def peak(side: str, hidden: int, vocabulary: int, precomputed: bool) -> None:
    """Bytes of one side: with everything imported, with the trainer made, and at most in each of three steps.

    From the second on, the optimizer's state is there while activations are.
    """
    imported = sides.resident("VmRSS")
    tokenizer = sides.words_tokenizer(vocabulary)
    rows = sides.texts(*sides.SETS["A"], 3 * sides.BATCH, vocabulary)
    tokenized = sides.resident("VmRSS")
    model = sides.llama(hidden, vocabulary)
    if side == "peer":
        trainer: Any = sides.peer(model, rows, tokenizer, precompute=precomputed, max_steps=3)
    else:
        reference = beforehand(model, rows, tokenizer) if precomputed else None
        trainer = sides.ours(model, rows, tokenizer, reference=reference, max_steps=3)
    made = sides.resident("VmRSS")
    peaks = sides.Peaks()
    trainer.add_callback(peaks)
    trainer.train()
    print(json.dumps({"imported": imported, "tokenized": tokenized, "made": made, "peaks": peaks.found}))


def curves(rounds: int) -> None:
    """A step of one pair against prompt length and model size, and of a list against its number of responses."""
    tokenizer = sides.words_tokenizer(8192)
    found: dict[str, Any] = {"prompt": [], "width": [], "responses": []}

    def both(kind: str, at: int, prompt: int, hidden: int) -> None:
        model = sides.llama(hidden)
        rows = sides.texts((prompt, prompt), (127, 127), 1, 8192)
        trainers = [make(copy.deepcopy(model), rows, tokenizer, max_steps=1) for make in (sides.peer, sides.ours)]
        lengths: list[Row] = [(prompt, [128, 128])]
        bound = operations(padded(lengths, 1), model.config) / operations(distinct(lengths), model.config)
        calls = [sides.one_step(trainer) for trainer in trainers]
        calls[1]()
        # The dear ones once.
        a, b = sides.alternating(calls, rounds if max(prompt, hidden) <= 512 else 1)
        size = sum(p.numel() for p in model.parameters())
        found[kind].append({"at": at, "parameters": size, "peer": a, "ours": b, "bound": bound})
        keep("curves", found)

    found["responses"] = lists(rounds)
    for length in LENGTHS:
        both("prompt", length, length, 512)
    for width in WIDTHS:
        both("width", width, 384, width)


def lists(rounds: int) -> list[dict[str, Any]]:
    """Loss and gradients of Plackett-Luce on 16 responses of 128 tokens, in lists of 2, 4, 8 and 16."""
    model, objective = sides.llama(), find("pl_dpo")
    draw = torch.Generator().manual_seed(0)

    def ids(n: int) -> list[int]:
        return torch.randint(2, 8192, (n,), generator=draw).tolist()

    def call(k: int) -> Any:
        from pluralign.objectives import PolicyBatch

        rows = [Encoded(ids(384), tuple(ids(128) for _ in range(k)), ([True] * 128,) * k) for _ in range(16 // k)]
        tokens = collate(rows, pad_id=0)

        def run() -> None:
            with torch.no_grad():
                before = logprobs(model, tokens).logp
            scored = logprobs(model, tokens)
            sign = torch.tensor([[1.0] + [-1.0] * (k - 1)] * len(rows))
            rating = torch.linspace(1, 0, k).expand(len(rows), k)
            batch = PolicyBatch(scored.logp, scored.length, sign, ref_logp=before, rating=rating)
            objective(batch, **objective.checked({})).mean().backward()
            model.zero_grad()

        return run

    sizes = (2, 4, 8, 16)
    calls = [call(k) for k in sizes]
    calls[0]()
    seconds = sides.alternating(calls, rounds)
    counts = [operations(distinct([(384, [128] * k)] * (16 // k)), model.config) for k in sizes]
    return [
        {"at": k, "ours": taken, "bound": counts[0] / count}
        for k, taken, count in zip(sizes, seconds, counts, strict=True)
    ]


def keep(name: str, found: dict[str, Any]) -> None:
    """Write a result with the machine and versions it was found on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    about = {
        "cpu": cpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": sides.trl.__version__,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(found | {"about": about}, indent=1) + "\n")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train")
    parser.add_argument("what", choices=["step", "reference", "memory", "peak", "curves", "page"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precomputed", action="store_true")
    parser.add_argument("--checkpointing", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "step":
        for name in given.rest or sides.SETS:
            step(name, given.steps, given.rounds, given.precomputed, given.checkpointing)
    elif given.what == "reference":
        for name in given.rest or sides.SETS:
            reference(name, given.rounds)
    elif given.what == "peak":
        peak(given.rest[0], int(given.rest[1]), int(given.rest[2]), given.precomputed)
    elif given.what == "memory":
        memory(given.rest)
    elif given.what == "curves":
        curves(given.rounds)
    else:
        from benchmarks.train_page import write

        write(RESULTS)


if __name__ == "__main__":
    main()

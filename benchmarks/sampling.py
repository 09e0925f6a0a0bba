"""Samples per second of the one generation engine beside `model.generate`, in one process, taking turns.

`python -m benchmarks.sampling` measures what `benchmarks/results/sampling.json` lacks and writes the page;
`page` only writes the page.
"""

from __future__ import annotations

import json
import platform
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "sampling.json", ROOT / "docs" / "sampling-speed.md"
LENGTHS, COPIES, SAMPLES, NEW, TURNS, STEPS = (16, 128, 512), (1, 4, 16), 32, 64, 3, 100
SIDES = ("ours", "batched", "loop")
OPENING = """# Sampling speed

What a sample costs beside `model.generate` of transformers: {samples} samples of at most {new} tokens from a
`lab:tiny` model (Llama, {size:.1f}M weights, trained {steps} steps on the texts of the simulated people), at
temperature 1, single precision, one thread of a CPU. All three run in one process and take turns on the same prompts:

- **loop**: one call of `generate` a prompt, `num_return_sequences` = K.
- **batched**: one call for all prompts, padded on the left, `num_return_sequences` = K.
- **ours**: `pluralign.policy.generate`.

The law is the same: greedy tokens equal those of `generate` on eleven families of models, and the frequencies of whole
sequences pass a chi-square test (`tests/policy/test_generate.py`). Seconds are CPU time of the process, for the machine
was busy. Ratios are of tokens per second, so that the luck of shorter responses does not count: the median of {turns}
turns, with the least and the greatest.

What is saved: a prompt's keys and values are computed once and not K times; a response that ended leaves the batch; a
new token is written into the cache and the cache not copied; prompts of many lengths share a batch.
"""


def setting() -> tuple[Any, Any, list[list[int]]]:
    """A model, its tokenizer, and texts as token ids."""
    import torch

    from pluralign.feedback.record import plain
    from pluralign.lab.people import simulate
    from pluralign.policy.load import load

    torch.set_num_threads(1)
    texts = [plain(j.prompt) + plain(r.messages) for j in simulate(600) for r in j.responses]
    model, tokenizer = load("lab:tiny", texts=texts, steps=STEPS)
    return model.eval(), tokenizer, [tokenizer(text)["input_ids"] for text in texts]


def prompts_of(count: int, length: int, texts: Sequence[list[int]], seed: int) -> list[list[int]]:
    """Prompts of 0.7 to 1 times this many tokens: texts one after another, the last cut in its middle."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        wanted, ids = draw.randint(int(0.7 * length), length), []
        while len(ids) < wanted:
            ids += draw.choice(texts)[1:]
        found.append([texts[0][0], *ids[-wanted + 1 :]] if wanted > 1 else texts[0][:1])
    return found


def by_generate(model: Any, tokenizer: Any, prompts: list[list[int]], k: int, rows: int) -> list[int]:
    """Lengths of what `generate` draws, so many prompts a call."""
    import torch
    from transformers import GenerationConfig

    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=NEW, eos_token_id=eos, pad_token_id=pad,
        num_return_sequences=k,
    )  # fmt: skip
    found = []
    for start in range(0, len(prompts), rows):
        chunk = prompts[start : start + rows]
        width = max(map(len, chunk))
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in chunk])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in chunk])
        with torch.no_grad():
            drawn = model.generate(input_ids=ids, attention_mask=mask)[:, width:].tolist()
        found += [row.index(eos) + 1 if eos in row else len(row) for row in drawn]
    return found


def by_engine(model: Any, tokenizer: Any, prompts: list[list[int]], k: int, seed: int) -> list[int]:
    """Lengths of what the engine draws."""
    from pluralign.policy.generate import Writer, generate

    seeds = [[(seed << 20) + 100 * i + j for j in range(k)] for i in range(len(prompts))]
    drawn = generate([Writer(model)], prompts, seeds, eos=tokenizer.eos_token_id, max_new_tokens=NEW)
    return [len(one.tokens) for _, own in drawn for one in own]


def measure(model: Any, tokenizer: Any, texts: Sequence[list[int]], length: int, k: int) -> list[dict[str, Any]]:
    """Each turn: samples, tokens and CPU seconds of each side."""
    turns = []
    for turn in range(TURNS + 1):
        prompts = prompts_of(SAMPLES // k, length, texts, seed=1000 * length + turn)
        sides: dict[str, Callable[[], list[int]]] = {
            "ours": lambda p=prompts, t=turn: by_engine(model, tokenizer, p, k, t),
            "batched": lambda p=prompts: by_generate(model, tokenizer, p, k, len(p)),
            "loop": lambda p=prompts: by_generate(model, tokenizer, p, k, 1),
        }
        if turn == 0:
            # Warm up on little.
            by_engine(model, tokenizer, prompts[:1], 1, 0)
            by_generate(model, tokenizer, prompts[:1], 1, 1)
            continue
        said = {}
        for name in SIDES[turn % 3 :] + SIDES[: turn % 3]:
            began = time.process_time()
            lengths = sides[name]()
            said[name] = {"samples": len(lengths), "tokens": sum(lengths), "cpu_s": time.process_time() - began}
        turns.append(said)
    return turns


def about(model: Any) -> dict[str, Any]:
    import torch
    import transformers

    return {
        "weights": sum(p.numel() for p in model.parameters()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def figures(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians: samples a CPU second of each side, and tokens a second of ours over those of the others, [low, high]."""
    found: dict[str, Any] = {name: median(t[name]["samples"] / t[name]["cpu_s"] for t in turns) for name in SIDES}
    for name in SIDES[1:]:
        ratios = [(t["ours"]["tokens"] / t["ours"]["cpu_s"]) / (t[name]["tokens"] / t[name]["cpu_s"]) for t in turns]
        found[f"over {name}"] = (median(ratios), min(ratios), max(ratios))
    return found


def page(results: dict[str, Any]) -> str:
    """The page, from what was measured."""
    opening = OPENING.format(samples=SAMPLES, new=NEW, size=results["about"]["weights"] / 1e6, steps=STEPS, turns=TURNS)
    rows = [
        "| tokens a prompt | K | loop, samples/s | batched | ours | over the loop | over batched |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in results["cells"]:
        f = figures(cell["turns"])
        loop, batched = (f"**{m:.1f}x** ({a:.1f} to {b:.1f})" for m, a, b in (f["over loop"], f["over batched"]))
        speeds = " | ".join(f"{f[name]:.1f}" for name in ("loop", "batched", "ours"))
        rows.append(f"| {cell['length']} | {cell['k']} | {speeds} | {loop} | {batched} |")
    said = results["about"]
    foot = (
        f"Python {said['python']}, torch {said['torch']}, transformers {said['transformers']}; one thread. "
        "Not measured on a GPU.\n\nWritten by `python -m benchmarks.sampling`; what it measured is in "
        "`benchmarks/results/sampling.json`.\n"
    )
    return "\n".join([opening, *rows, "", foot])


def main(arguments: Sequence[str]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"cells": []}
    if "page" not in arguments:
        model, tokenizer, texts = setting()
        results["about"] = about(model)
        done = {(cell["length"], cell["k"]) for cell in results["cells"]}
        for length in LENGTHS:
            for k in COPIES:
                if (length, k) in done:
                    continue
                turns = measure(model, tokenizer, texts, length, k)
                results["cells"].append({"length": length, "k": k, "turns": turns})
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                print(length, k, figures(turns), flush=True)
    PAGE.write_text(page(results))


if __name__ == "__main__":
    main(sys.argv[1:])

"""The demonstration: simulated people in, an audited file, two aligned models and a report out.

An ordinary user of the public interface; every step below is one that a user would take.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from pluralign.intervals import wilson
from pluralign.lab import faults, people


def demo(out: str | Path = "demo", *, seed: int = 0) -> Path:
    """Run everything in the folder `out` and return the path of the report. About three minutes on two cores."""
    from pluralign.evaluate import evaluate
    from pluralign.feedback import read
    from pluralign.report import report
    from pluralign.train import Run, align

    console, out = Console(), Path(out)
    page = out / "report.html"
    console.print(f"The report will be at [bold]{page.resolve()}[/]\n", highlight=False)

    console.rule("1. Ten simulated people of two tastes judge pairs of answers")
    clean = people.simulate(2400, seed=seed)
    written, planted = faults.plant(clean, seed=seed)
    file = written.write(out / "feedback.jsonl")
    console.print(f"{file}: {len(clean):,} pairs, and {sum(map(len, planted.values()))} rows with planted faults")

    console.rule("2. Audit: are the planted faults found?")
    feedback = read(file)
    console.print(str(feedback.report), markup=False, highlight=False)
    audit = feedback.audit()
    audit.to_html(out / "audit.html")
    ids = feedback.table["id"].to_pylist()
    for finding in audit.findings:
        if finding.name in planted:
            flagged = {ids[i] for i in finding.rows}
            hit = len(flagged & set(planted[finding.name]))
            console.print(
                f"  {finding.name}: {_of(hit, len(planted[finding.name]))} of the planted rows", highlight=False
            )
    kept, dropped = feedback.filter(*planted, audit=audit)
    console.print(f"  kept {len(kept):,} rows, dropped {len(dropped):,}; the page is {out / 'audit.html'}")
    clean_file = kept.write(out / "kept.parquet")

    console.rule("3. Align a small language model, twice")
    held_in, held_out = kept.split(0.25, by="prompt", seed=seed)
    console.print(f"{len(held_in):,} pairs to learn from, {len(held_out):,} of other prompts held out ({clean_file})")
    runs: list[Run] = []
    for objective, options in (("dpo", {"learning_rate": 5e-4}), ("simpo", {"learning_rate": 2e-4})):
        folder = out / objective
        training: dict[str, Any] = {"per_device_train_batch_size": 16, "num_train_epochs": 2, "logging_steps": 20}
        training["pretrain_steps"] = 200
        runs.append(
            align(
                held_in,
                # Made once: both runs start from the very same model.
                str(runs[0].path / "reference") if runs else "lab:tiny",
                objective,
                output_dir=folder,
                eval_data=held_out,
                reference_cache=str(out / "reference-cache"),
                seed=seed,
                **{**training, **options},
            )
        )

    console.rule("4. Evaluate on held-out prompts against the known truth")
    for run in runs:
        for name, truth in (
            ("heldout", people.crowd()),
            ("brief people", people.BRIEF.utility),
            ("warm people", people.WARM_AND_FULL.utility),
        ):
            result = evaluate(run, name=name, scorer=truth, cluster="prompt", max_new_tokens=80, seed=seed)
            figures = result.figures
            if name == "heldout":
                console.print(f"{run.name}\n{result}", markup=False, highlight=False)
            else:
                win = figures["generations"]["win_rate"]
                said = f"{win['value']:.3f} [{win['low']:.3f}, {win['high']:.3f}]"
                console.print(f"win rate of samples, to the {name}: {said}", markup=False, highlight=False)

    report(*runs, out=page)
    console.rule("Done")
    console.print(f"Open [bold]{page.resolve()}[/]", highlight=False)
    return page


def _of(hit: int, n: int) -> str:
    low, high = wilson(hit, n)
    return f"{hit} of {n} ({hit / n:.0%}, 95% interval {low:.0%} to {high:.0%})"

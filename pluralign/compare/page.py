"""The page of a comparison, and its numbers beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pluralign.compare.summary import Summary
from pluralign.evaluate.figures import chance, spelled
from pluralign.feedback.storage import whole_file
from pluralign.report.page import render
from pluralign.report.tables import scale


def write_page(out: Path, summary: Summary) -> Path:
    """compare.html and compare.json in the folder of the comparison; the path of the page."""
    entries = summary.entries
    page = render(
        Path(__file__).with_name("compare.html"),
        summary=summary,
        entries=entries,
        accuracy_scale=scale([e.accuracy for e in entries], 0.5),
        behind_scale=scale([e.behind for e in entries if e.behind], 0.0),
        spelled=spelled,
        chance=chance,
        scatter=_scatter(summary),
        command=_command(summary),
    )
    path = out / "compare.html"
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    numbers = {
        "verdict": summary.verdict,
        "notes": summary.notes,
        "plan": asdict(summary.plan),
        "entries": [asdict(e) for e in entries],
        "runs": summary.points,
    }
    with whole_file(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _command(summary: Summary) -> str | None:
    """How to train the best again, in full."""
    if not summary.entries:
        return None
    best = summary.entries[0]
    options = " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in best.options.items())
    return f"pluralign align DATA --model {summary.plan.model} --objective '{best.objective}' {options} -o runs/best"


def _scatter(summary: Summary) -> dict[str, Any] | None:
    """Every run's accuracy against its KL, in the picture's coordinates."""
    if not summary.points:
        return None
    names = [e.objective for e in summary.entries]
    kls, shares = [p["kl"] for p in summary.points], [p["accuracy"] for p in summary.points]
    most = max([*kls, 1e-6])
    low, high = min([*shares, 0.5]), max([*shares, 0.5])
    span = (high - low) or 1.0
    dots = [
        {
            "x": round(48 + 480 * max(p["kl"], 0.0) / most, 1),
            "y": round(230 - 210 * (p["accuracy"] - low) / span, 1),
            "series": names.index(p["objective"]),
            "title": f"{p['objective']} ({p['setting']}): accuracy {p['accuracy']:.3f}, KL {p['kl']:.2f}",
        }
        for p in summary.points
    ]
    half = round(230 - 210 * (0.5 - low) / span, 1)
    return {"dots": dots, "most": f"{most:.3g}", "low": f"{low:.2f}", "high": f"{high:.2f}", "half": half}

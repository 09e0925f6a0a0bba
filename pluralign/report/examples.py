"""Prompts with the judged pair and what every run writes to them, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN = 12


def side_by_side(evaluated: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """At most `SHOWN` prompts: those with a pair and a sample first. evaluated: figures by name of the run.

    Each has `prompt`, `pairs` (chosen, rejected, `margins` by run) and `samples` (writer, text). References that wrote
    the same are one writer.

    >>> pair = {"prompt": "Why?", "chosen": "Because.", "rejected": "No.", "margin": 0.5}
    >>> side_by_side({"a": {"pairs": [pair]}, "b": {"pairs": [pair | {"margin": -0.5}]}})[0]["pairs"][0]["margins"]
    {'a': 0.5, 'b': -0.5}
    """
    found: dict[str, dict[str, Any]] = {}

    def of(prompt: str) -> dict[str, Any]:
        return found.setdefault(prompt, {"prompt": prompt, "pairs": [], "samples": []})

    for name, figures in evaluated.items():
        for pair in figures.get("pairs", []):
            pairs = of(pair["prompt"])["pairs"]
            texts = (pair["chosen"], pair["rejected"])
            known = next((p for p in pairs if (p["chosen"], p["rejected"]) == texts), None)
            if known is None:
                known = {"chosen": texts[0], "rejected": texts[1], "margins": {}}
                pairs.append(known)
            known["margins"][name] = pair["margin"]
        for drawn in (figures.get("generations") or {}).get("examples", []):
            samples = of(drawn["prompt"])["samples"]
            if not any(s["reference"] and s["text"] == drawn["reference"] for s in samples):
                samples.insert(0, {"writer": f"reference of {name}", "text": drawn["reference"], "reference": True})
            samples.append({"writer": name, "text": drawn["policy"], "reference": False})
    return sorted(found.values(), key=lambda e: not (e["pairs"] and e["samples"]))[:SHOWN]

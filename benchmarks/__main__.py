"""`python -m benchmarks` runs every benchmark of this folder that needs no data of its own, one after another."""

from __future__ import annotations

import runpy

for name in ("audit", "trl", "rank", "rank_streams"):
    print(f"\n== benchmarks.{name}")
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")

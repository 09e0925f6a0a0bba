"""A process that runs cells: their names come in on lines, and each is answered when it is done.

It ends when nobody speaks to it any more, so that a comparison that is killed leaves nothing running but the cells
that had begun.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from pluralign.compare.cell import folder, run_cell
from pluralign.compare.plan import Cell, Plan
from pluralign.errors import OptionError


def work(out: Path) -> None:
    """Run the cells named on standard input."""
    from pluralign.evaluate.scorers import load_function

    plan, answers = Plan.read(out), sys.stdout
    scorer = load_function(plan.scorer) if plan.scorer else None
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            run_cell(out, Cell(**json.loads(line)), scorer)
            print("done", file=answers, flush=True)


def run_all(
    out: Path, cells: Sequence[Cell], processes: int, late: Callable[[], bool], told: Callable[[Cell], None]
) -> None:
    """Run cells in worker processes, until all are done or it is late. told: each cell as it finishes."""
    waiting: SimpleQueue[Cell] = SimpleQueue()
    for cell in cells:
        waiting.put(cell)
    threads = str(max(1, len(os.sched_getaffinity(0)) // processes)) if hasattr(os, "sched_getaffinity") else "1"
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}

    def speak(number: int) -> None:
        log = out / "logs" / f"worker-{number}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("a") as errors:
            worker = subprocess.Popen(
                [sys.executable, "-m", "pluralign.compare.worker", str(out)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
            assert worker.stdin is not None
            assert worker.stdout is not None
            try:
                while not waiting.empty() and not late():
                    cell = waiting.get()
                    worker.stdin.write(
                        json.dumps({"objective": cell.objective, "options": cell.options, "seed": cell.seed}) + "\n"
                    )
                    worker.stdin.flush()
                    if not worker.stdout.readline() or not folder(out, cell).is_dir():
                        raise OptionError(
                            f"the cell {cell.name} ({cell.objective}) broke off; its messages are in {log}"
                        )
                    told(cell)
            finally:
                worker.stdin.close()
                worker.wait()

    with ThreadPoolExecutor(processes) as pool:
        for future in [pool.submit(speak, n) for n in range(1, processes + 1)]:
            future.result()


if __name__ == "__main__":
    work(Path(sys.argv[1]))

"""What a run does beside its steps: it writes and prints its metrics, and stops where it can go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from transformers import TrainerCallback

from pluralign.train.run import Run


class RunLog(TrainerCallback):
    """Writes metrics.jsonl and prints a short line of each."""

    def __init__(self, run: Run, console: Console) -> None:
        self.run, self.console = run, console

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """One line."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        split = "eval" if any(name.startswith("eval_") for name in logs) else "train"
        values = {name.removeprefix("eval_"): value for name, value in logs.items()}
        self.run.log({"step": state.global_step, "split": split, **values})
        shown = [
            f"{name} {values[name]:.4f}" for name in ("loss", "rewards/accuracies", "rewards/margins") if name in values
        ]
        self.console.print(f"step {state.global_step}/{state.max_steps} {split:5} {'  '.join(shown)}", highlight=False)


class StopAfterStep(TrainerCallback):
    """Turns Ctrl-C into a checkpoint at the end of the step; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within this, the first Ctrl-C is noted, and the second raises `KeyboardInterrupt`."""

        def ask(number: int, frame: FrameType | None) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        try:
            before = signal.signal(signal.SIGINT, ask)
        except ValueError:  # not the main thread: signals are somebody else's
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Save and stop, if that was asked for."""
        if self.asked:
            control.should_save = True
            control.should_training_stop = True
        return control

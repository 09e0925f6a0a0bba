"""Rounds, one after the other, each done from where a kill left it: sample, ask, learn, keep, watch."""

from __future__ import annotations

import copy
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from pluralign.errors import OptionError
from pluralign.feedback import Judgement
from pluralign.online import records
from pluralign.online.asking import Judged, ask, kept, plain_writer, shares
from pluralign.online.drawing import Drawing, asked_in
from pluralign.online.drawn import Prompt, hashed
from pluralign.online.fitting import Fit
from pluralign.online.folder import OnlineRun
from pluralign.online.judges import Recorded
from pluralign.online.learner import Learner, Stage
from pluralign.online.offline import Pairs
from pluralign.online.settings import OnlineOptions
from pluralign.online.snapshots import keep, mixed, take_up
from pluralign.online.student import Student, save
from pluralign.online.watching import Watching
from pluralign.policy.load import save as save_model
from pluralign.progress import bar
from pluralign.train.run import Run


@dataclass
class Rounds:
    """The rounds of a run in the making.

    snapshots: models by name; those that are one and the same are one object. states: what each stage's student
    carries from round to round.
    """

    settings: OnlineOptions
    learner: Learner
    options: dict[str, Any]
    training: list[Prompt]
    judges: dict[str, Recorded]
    drawing: Drawing
    watching: Watching
    snapshots: dict[str, Any]
    offline: Pairs | None = None
    states: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def folder(self) -> OnlineRun:
        """The run's."""
        return self.drawing.folder

    def round(self, number: int) -> None:
        """Do a round, or what is missing of it, or take up what it left."""
        run = Run(self.folder.round_path(number))
        plan = self.learner.plan(**self.options)
        names = {stage.keep for stage in plan.stages}
        for name in names:
            self.snapshots[f"{name} before"] = self.snapshots[name]
        if (run.path / "round.json").is_file():
            self.watching.remember(number)
            if (found := take_up(run, names, self.settings.dtype)) is not None:
                self.snapshots.update(found[0])
                self.states = found[1]
            return
        records.begin_round(self.folder, run, number)
        rows: list[Judgement] = []
        lost: Counter[str] = Counter()
        line: dict[str, Any] = {}
        judged = Judged()
        for place, stage in enumerate(plan.stages):
            if stage.redraw or not judged.groups:
                judged = self.judged(number, place, stage)
                rows += judged.rows
                lost += judged.lost
                line |= {"samples/duplicates": judged.duplicates} | _answered(judged)
                kept(rows, number=number, learner=self.learner.name).write(run.path / "feedback.parquet")
                if stage.replay:
                    for earlier in range(1, number):
                        judged.add(self.judged(earlier, place, stage))
            if not judged.groups:
                raise OptionError(
                    f"{run.path}: no prompt has an answer to learn from ({dict(lost)}); look at judge and sampler"
                )
            line |= self._learn(run, number, place, stage, judged)
        records.round_data(run, rows, self.learner, len(judged.groups), lost)
        deployed = mixed(self.snapshots, plan.deploy)
        save_model(run.path / "model", deployed, self.drawing.tokenizer)
        keep(run, names, self.snapshots, deployed, self.states)
        line |= self.watching.watch(number, deployed, self.snapshots["reference"])
        for name in ("asked", "unanswered") if self.judges else ():
            line[f"judge/{name}"] = sum(getattr(judge, name) for judge in self.judges.values())
        self.snapshots["previous"] = deployed
        self.folder.forget_after(number - 1)
        self.folder.log({"step": number, "round": number, "split": "train", **line})
        for name in ("checkpoint.pt", *(f"stage-{i}.pt" for i in range(len(plan.stages)))):
            (run.path / name).unlink(missing_ok=True)
        run.write("round.json", {"round": number, **line})
        self._prune(number - 1)
        self._say(number, line)

    def _prune(self, number: int) -> None:
        """Let go of a round's weights when the next round is done, where they are not to be kept."""
        if number and number % self.settings.keep_every:
            shutil.rmtree(self.folder.round_path(number) / "model", ignore_errors=True)
            (self.folder.round_path(number) / "state.pt").unlink(missing_ok=True)

    def finish(self) -> None:
        """The last policy, as the run's own."""
        if self.folder.finished and self.folder.ended_after == self.settings.rounds:
            return
        save_model(self.folder.path / "model", self.snapshots["previous"], self.drawing.tokenizer)
        self.folder.write("finished.json", {"rounds": self.settings.rounds})
        self.drawing.console.print(f"\ndone: {self.folder.path}\nnext: pluralign report {self.folder.path}")

    def judged(self, number: int, place: int, stage: Stage) -> Judged:
        """A stage's samples with what the judge says of them; what is on disk is neither drawn nor asked again."""
        draw, prompts = self.drawing.draw, asked_in(number, self.training, self.settings)
        count = self.settings.samples or self.learner.group
        rival = None if stage.opponent == stage.law else stage.opponent
        against = self.settings.opponents if rival is not None else 0
        found = draw(prompts, stage.law, count, number, f"samples-{place}")
        if rival is not None:
            others = draw(prompts, rival, against, number, f"samples-{place}-opponent")
            found = [
                [replace(own, samples=(*own.samples, *other.samples)) for own, other in zip(each, beside, strict=False)]
                for each, beside in zip(found, others, strict=True)
            ]
        drawn = [group for each in found for group in each]
        nothing = Counter({"nothing drawn": found.count([])} if [] in found else {})
        if not drawn:
            return Judged(lost=nothing)
        greedy = None
        if "greedy_reward" in self.learner.needs(**self.options):
            asked = [group.prompt for group in drawn]
            best = self.drawing.plain(asked, stage.law, number, f"samples-{place}-greedy", temperature=0.0)
            greedy = [d.samples[0].text for d in best]
        law, opponent = shares(len(drawn[0].samples) - against, against)
        label = f"round {number} stage {place + 1}" if place else f"round {number}"
        with bar(f"{label}: asking the judge", None, self.drawing.console) as step:
            judged = ask(
                drawn, law, opponent, judges=list(self.judges.values()), wants=self.learner.wants(**self.options),
                encoder=self.drawing.encoder, label=label,
                seed=hashed(self.settings.seed, f"round-{number}", place), greedy=greedy, progress=step,
            )  # fmt: skip
        judged.lost += nothing
        return judged

    def _learn(self, run: Run, number: int, place: int, stage: Stage, judged: Judged) -> dict[str, Any]:
        seed = hashed(self.settings.seed, number, place) % 2**31
        steps = self.settings.steps(seed, one_step=stage.one_step, epochs=self.options.get("epochs", 1))
        begin = copy.deepcopy(self.snapshots[stage.begin])
        student = Student.of(begin, self.learner, self.options, steps, len(self.judges))
        if (state := self.states.get(place)) is not None:
            kept_on = state if self.settings.keep_optimizer else {**state, "optimizer": student.optimizer.state_dict()}
            student.load(kept_on)
        path = run.path / f"stage-{place}.pt"
        if path.is_file():
            student.load(torch.load(path, weights_only=True))
        else:
            checkpoint = run.path / "checkpoint.pt"
            done = torch.load(checkpoint, weights_only=True)["step"] if checkpoint.is_file() else 0
            records.forget_stage(run, place, done)
            fit = Fit(
                self.learner, judged.groups, judged.law, judged.opponent, self.snapshots, plain_writer(judged.laws),
                steps, self.drawing.tokenizer.pad_token_id, self.offline, list(self.judges),
            )  # fmt: skip
            title = f"round {number}: learning"
            with bar(title, len(steps.order(len(judged.groups))), self.drawing.console) as step:
                fit.run(
                    student,
                    checkpoint=checkpoint,
                    log=lambda line: run.log({**line, "stage": place}),
                    progress=step,
                )
            save(path, student.state())
            checkpoint.unlink(missing_ok=True)
        self.snapshots[stage.keep] = student.model
        self.states[place] = student.state(model=False)
        means = [m for m in run.metrics if m.get("stage") == place]
        found = {name: float(np.mean([m[name] for m in means])) for name in ("loss", "grad_norm") if means}
        if self.settings.kl_target is not None:
            found["beta"] = student.options["beta"]
        if student.multipliers is not None:
            weighed = [f"{what}/{name}" for what in ("reward", "multiplier") for name in self.judges]
            found |= {name: means[-1][name] for name in weighed}
        return found

    def _say(self, number: int, line: Mapping[str, Any]) -> None:
        names = ("loss", "kl", "proxy/win_rate", "independent/win_rate", "gold/win_rate", "worst_group/win_rate", "gap")
        said = [f"{name} {line[name]:.3f}" for name in names if name in line]
        console = self.drawing.console
        console.print(f"round {number}/{self.settings.rounds}  {'  '.join(said)}", highlight=False)
        for warning in line.get("warnings", ()):
            console.print(f"warning: {warning}", markup=False, highlight=False)


def _answered(judged: Judged) -> dict[str, float]:
    silent = sum(row.meta.get("answer") == "none" for row in judged.rows)
    line = {"samples/no_answer": silent / max(len(judged.rows), 1)}
    if judged.rewards:
        line["samples/reward"] = float(np.mean(judged.rewards))
    return line

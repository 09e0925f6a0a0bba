"""`online.run`: sample, ask, turn into feedback, learn, keep, and again.

Everything that was paid for is on disk before it is used, so that a run that is killed goes on where it was: samples
and answers as they come, weights at every checkpoint and after every stage.
"""

from __future__ import annotations

import copy
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from pluralign.errors import OptionError
from pluralign.feedback import Feedback, Judgement, read
from pluralign.feedback.record import Message
from pluralign.online.asking import Judged, as_prompt, ask, kept, plain_writer, shares
from pluralign.online.drawn import Drawn, Prompt, Sampler, collect, hashed, prompt_key
from pluralign.online.fitting import Fit, Student, save
from pluralign.online.folder import OnlineRun
from pluralign.online.judges import Budget, Recorded
from pluralign.online.judges import Judge as Asked
from pluralign.online.learner import Judge, Learner, Plan, Stage
from pluralign.online.monitors import Monitors
from pluralign.online.samplers import PolicySampler
from pluralign.online.samples import Anchors
from pluralign.online.settings import MAY_CHANGE, OnlineOptions, resolve
from pluralign.policy.encode import Encoder
from pluralign.policy.load import load
from pluralign.policy.load import save as save_model
from pluralign.policy.reference import weights_fingerprint
from pluralign.progress import bar
from pluralign.train.options import read_config
from pluralign.train.run import Run, versions

Watched = Asked | str | None
SamplerOf = Callable[[Mapping[str, Any], Any, Mapping[str, float], int, Mapping[str, Any]], Sampler]
"""(models by name, tokenizer, exponents of their geometric mixture, responses a prompt, settings) -> a sampler.

settings: `max_new_tokens` and `temperature`, 0 for the most probable response. See `PolicySampler`.
"""


def run(
    prompts: Any = None,
    model: str | Path | None = None,
    learner: str | Learner | None = None,
    *,
    judge: Asked | str | None = None,
    output_dir: str | Path,
    independent: Watched = None,
    gold: Watched | Mapping[str, Asked] = None,
    sampler: SamplerOf | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    resume: bool = False,
    **options: Any,
) -> OnlineRun:
    """Train a model on its own samples and what a judge says of them, in rounds, and leave everything in `output_dir`.

    prompts: texts, chats, `Feedback`, or anything `pluralign.read` takes, whose prompts are asked. model: a folder, a
    hub name or `lab:tiny`. learner: a name from `pluralign.online.catalogue()`, an objective that learns from pairs, or
    a `Learner`. judge: an object with `name` and `prob`, or `module:name`. independent, gold: judges that only watch;
    gold may map groups of people to judges. sampler: in place of plain draws of the learner's law; see `SamplerOf`.
    config: a YAML file or mapping of options. resume: go on with what is in the folder; nothing is drawn or asked
    twice. options: those of `OnlineOptions` and the learner's.

    Returns the `OnlineRun`. Raises `OptionError` and `FeedbackError` for what does not fit together, `BudgetSpent`
    when the judge may be asked no more (what is there stays, and a larger budget goes on from it).
    """
    folder = OnlineRun(Path(output_dir))
    named = {"learner": learner, "judge": judge, "independent": independent, "gold": gold, "prompts": prompts}
    given = _given(folder, named, model, config, resume, options)
    settings, goal, its = resolve(given, learner if isinstance(learner, Learner) else None)
    if (folder.path / "config.json").exists() and not resume:
        raise OptionError(f"{folder.path} already holds a run; choose another folder, or continue it with --resume")
    judges = _Judges.of(
        judge if judge is not None else settings.judge,
        independent if independent is not None else settings.independent,
        gold if gold is not None else settings.gold,
    )
    if beside := sorted(goal.needs(**its) & {"offline", "components", "multipliers"}):
        raise OptionError(
            f"{goal.name} needs {' and '.join(beside)} beside its samples, which only a loop of one's own can give it"
        )
    if _wants(goal, its) is not Judge.NOTHING and judges.loop is None:
        raise OptionError(f"{goal.name} learns from what a judge says; give one")
    asked = _prompts(prompts if prompts is not None else settings.prompts)
    loop = _Loop.start(folder, settings, goal, its, given, judges, asked, sampler or PolicySampler, resume)
    for number in range(1, settings.rounds + 1):
        loop.round(number)
    loop.finish()
    return OnlineRun.open(folder.path)


def _wants(learner: Learner, options: Mapping[str, Any]) -> Judge:
    """What to ask the judge for with these options."""
    needs = learner.needs(**options)
    return next((wanted for wanted in (Judge.PREFERENCE, Judge.REWARD) if wanted in needs), learner.judge)


@dataclass(frozen=True)
class _Judges:
    """The judge in the loop, and those that only watch."""

    loop: Asked | None
    independent: Asked | None
    gold: Asked | None
    groups: dict[str, Asked]

    @classmethod
    def of(cls, loop: Watched, independent: Watched, gold: Watched | Mapping[str, Asked]) -> _Judges:
        truth = _found(gold) if isinstance(gold, str) else gold
        if isinstance(truth, Mapping):
            return cls(_found(loop), _found(independent), None, dict(truth))
        return cls(_found(loop), _found(independent), truth, {})


def _found(judge: Any) -> Any:
    """A judge, one named as module:name, or what a function of that name makes."""
    if not isinstance(judge, str):
        return judge
    from pluralign.evaluate.scorers import load_function

    value: Any = load_function(judge)
    return value if hasattr(value, "prob") or isinstance(value, Mapping) else value()


def _given(
    folder: OnlineRun,
    named: Mapping[str, Any],
    model: str | Path | None,
    config: str | Path | Mapping[str, Any] | None,
    resume: bool,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """All options in one mapping: those of the run to go on with, then the config's, then the ones given by name."""
    before = OnlineRun.open(folder.path).config["options"] if resume else {}
    given: dict[str, Any] = dict(before)
    if config is not None:
        given |= dict(config) if isinstance(config, Mapping) else read_config(config)
    given |= {name: str(value) for name, value in named.items() if isinstance(value, (str, Path))}
    if isinstance(learner := named["learner"], Learner):
        given["learner"] = learner.name
    given |= dict(options) | ({} if model is None else {"model": str(model)})
    if "model" not in given:
        raise OptionError("no model given; name a folder, a hub model, or lab:tiny")
    for name in sorted({*before, *given} - MAY_CHANGE if resume else ()):
        if before.get(name) != given.get(name):
            raise OptionError(
                f"{folder.path} cannot go on: {name} was {before.get(name)} and is now {given.get(name)}; "
                "leave it as it was, or begin a new run"
            )
    return given


@dataclass(frozen=True)
class _Prompts:
    """What is asked, with the answers that people gave to it where there are some."""

    prompts: list[Prompt]
    answers: dict[str, tuple[Message, ...]]
    fingerprint: str


def _prompts(source: Any) -> _Prompts:
    if source is None:
        raise OptionError("no prompts given; name a file whose prompts are to be asked, or give a list of texts")
    if isinstance(source, (list, tuple)) and source and isinstance(source[0], (str, tuple)):
        found = [as_prompt(one) for one in source]
        return _Prompts(found, {}, f"{hashed(*map(prompt_key, found)):016x}")
    feedback = source if isinstance(source, Feedback) else read(source)
    asked: dict[str, Prompt] = {}
    answers: dict[str, tuple[Message, ...]] = {}
    for row in feedback:
        key = prompt_key(row.prompt)
        asked.setdefault(key, row.prompt)
        first = min(
            range(len(row.responses)), key=lambda i: (row.ranks or (1,) * len(row.responses))[i] or 99, default=None
        )
        if first is not None and row.responses[first].messages:
            answers.setdefault(key, row.responses[first].messages)
    if not asked:
        raise OptionError("the source has no prompts to ask")
    return _Prompts(list(asked.values()), answers, feedback.fingerprint)


@dataclass
class _Loop:
    """A run in the making.

    snapshots: models by name; those that are one and the same are one object. states: what each stage's student
    carries from round to round.
    """

    folder: OnlineRun
    settings: OnlineOptions
    learner: Learner
    options: dict[str, Any]
    tokenizer: Any
    encoder: Encoder
    training: list[Prompt]
    watching: list[Prompt]
    answers: dict[str, tuple[Message, ...]]
    judge: Recorded | None
    sampler_of: SamplerOf
    snapshots: dict[str, Any]
    console: Console
    monitors: Monitors | None = None
    states: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        folder: OnlineRun,
        settings: OnlineOptions,
        learner: Learner,
        options: dict[str, Any],
        given: Mapping[str, Any],
        judges: _Judges,
        asked: _Prompts,
        sampler_of: SamplerOf,
        resume: bool,
    ) -> _Loop:
        console = Console(stderr=True)
        model, tokenizer = _model(folder, settings, asked, console)
        mixed = np.random.default_rng(settings.seed).permutation(len(asked.prompts)).tolist()
        held = min(settings.monitor_prompts, max(len(mixed) - 1, 0))
        training = [asked.prompts[i] for i in sorted(mixed[held:])]
        watching = [asked.prompts[i] for i in sorted(mixed[:held])]
        if resume and folder.data["fingerprint"] != asked.fingerprint:
            raise OptionError(f"{folder.path} cannot go on: the prompts are not those the run began with")
        if resume and folder.reference["fingerprint"] != weights_fingerprint(model):
            raise OptionError(
                f"{folder.path} cannot go on: the weights of {settings.model} are not those it began with"
            )
        budget = Budget(settings.budget)
        path = folder.path / "answers.jsonl"
        judge = None
        if judges.loop is not None:
            judge = Recorded(judges.loop, path=path, budget=budget, attempts=settings.attempts)
        plan = learner.plan(**options)
        keeps = {stage.keep for stage in plan.stages}
        loop = cls(
            folder, settings, learner, options, tokenizer, Encoder(tokenizer), training, watching, asked.answers, judge,
            sampler_of, dict.fromkeys(("reference", "previous", *keeps), model), console,
        )  # fmt: skip
        if not resume:
            _record(folder, settings, learner, options, given, loop, asked, weights_fingerprint(model))
        loop.watch_over(judges)
        return loop

    # ------------------------------------------------------------------ rounds

    def round(self, number: int) -> None:
        """Do a round, or what is missing of it, or take up what it left."""
        run = Run(self.folder.round_path(number))
        plan = self.learner.plan(**self.options)
        for name in {stage.keep for stage in plan.stages}:
            self.snapshots[f"{name} before"] = self.snapshots[name]
        if (run.path / "round.json").is_file():
            self._take_up(run, plan)
            return
        run.path.mkdir(parents=True, exist_ok=True)
        self._record_round(run)
        rows: list[Judgement] = []
        lost: Counter[str] = Counter()
        line: dict[str, Any] = {}
        judged = Judged()
        for place, stage in enumerate(plan.stages):
            if stage.redraw or not judged.groups:
                judged = self.judged(number, place, stage)
                rows += judged.rows
                lost += judged.lost
                line |= {"samples/duplicates": judged.duplicates} | self._answered(judged)
                kept(rows, number=number, learner=self.learner.name).write(run.path / "feedback.parquet")
                if stage.replay:
                    for earlier in range(1, number):
                        judged.add(self.judged(earlier, place, stage))
            if not judged.groups:
                raise OptionError(
                    f"{run.path}: no prompt has an answer to learn from ({dict(lost)}); look at the judge"
                )
            line |= self._learn(run, number, place, stage, judged)
        run.write("data.json", self._data(rows, judged, lost))
        deployed = _mixed(self.snapshots, plan.deploy)
        save_model(run.path / "model", deployed, self.tokenizer)
        self._keep(run, plan, deployed)
        line |= self.watched(number, deployed)
        if self.judge is not None:
            line |= {"judge/asked": self.judge.asked, "judge/unanswered": self.judge.unanswered}
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
        if self.folder.finished and len(self.folder.rounds) == self.settings.rounds and self._is_last():
            return
        save_model(self.folder.path / "model", self.snapshots["previous"], self.tokenizer)
        self.folder.write("finished.json", {"rounds": self.settings.rounds})
        self.console.print(f"\ndone: {self.folder.path}\nnext: pluralign report {self.folder.path}")

    def _is_last(self) -> bool:
        path = self.folder.path / "finished.json"
        return path.is_file() and self.folder._read("finished.json")["rounds"] == self.settings.rounds

    # ------------------------------------------------------------------ sample and ask

    def asked_in(self, number: int) -> list[Prompt]:
        """The prompts of a round: the next ones of an endless walk through all, mixed anew each time."""
        size = min(self.settings.prompts_per_round or len(self.training), len(self.training))
        start, found = (number - 1) * size, []
        for place in range(start, start + size):
            lap, step = divmod(place, len(self.training))
            order = np.random.default_rng((self.settings.seed, lap)).permutation(len(self.training))
            found.append(self.training[int(order[step])])
        return found

    def judged(self, number: int, place: int, stage: Stage) -> Judged:
        """A stage's samples with what the judge says of them; what is on disk is neither drawn nor asked again."""
        path = self.folder.round_path(number)
        prompts = self.asked_in(number)
        count = self.settings.samples or self.learner.group
        rival = None if stage.opponent == stage.law else stage.opponent
        against = self.settings.opponents if rival is not None else 0
        drawn = self._draw(prompts, stage.law, count, number, f"samples-{place}")
        if rival is not None:
            others = self._draw(prompts, rival, against, number, f"samples-{place}-opponent")
            drawn = [
                Drawn(a.prompt, a.prompt_ids, (*a.samples, *b.samples)) for a, b in zip(drawn, others, strict=True)
            ]
        greedy = None
        if "greedy_reward" in self.learner.needs(**self.options):
            best = self._draw(prompts, stage.law, 1, number, f"samples-{place}-greedy", temperature=0.0)
            greedy = [d.samples[0].text for d in best]
        law, opponent = shares(len(drawn[0].samples) - against, against)
        label = f"round {number} stage {place + 1}" if place else f"round {number}"
        with bar(f"{label}: asking the judge", None, self.console) as step:
            return ask(
                drawn, law, opponent, judge=self.judge, wants=_wants(self.learner, self.options),
                encoder=self.encoder, label=label,
                seed=hashed(self.settings.seed, path.name, place), greedy=greedy, progress=step,
            )  # fmt: skip

    def _draw(
        self, prompts: Sequence[Prompt], law: Anchors, count: int, number: int, name: str, **bent: float
    ) -> list[Drawn]:
        path = self.folder.round_path(number) / f"{name}.jsonl"
        if "data" in law:
            return [self._given_answer(prompt) for prompt in prompts]
        settings: dict[str, Any] = {"max_new_tokens": self.settings.max_new_tokens}
        settings |= {"temperature": self.settings.temperature} | bent
        sampler = self.sampler_of(self.snapshots, self.tokenizer, dict(law), count, settings)
        with bar(f"round {number}: {name}", len(prompts), self.console) as step:
            return collect(sampler, prompts, seed=hashed(self.settings.seed, number, name), path=path, progress=step)

    def _given_answer(self, prompt: Prompt) -> Drawn:
        answer = self.answers.get(prompt_key(prompt))
        if answer is None:
            raise OptionError(
                f"{self.learner.name} learns beside answers that people gave; give feedback with a response to every "
                "prompt in place of prompts alone"
            )
        from pluralign.feedback.record import plain
        from pluralign.online.drawn import Law, Sample

        row = self.encoder.encode(prompt, [answer])
        sample = Sample(plain(answer), tuple(row.response_ids[0]), None, "eos", 0, Law.of("data"))
        return Drawn(prompt, tuple(row.prompt_ids), (sample,))

    # ------------------------------------------------------------------ learn and keep

    def _learn(self, run: Run, number: int, place: int, stage: Stage, judged: Judged) -> dict[str, Any]:
        seed = hashed(self.settings.seed, number, place) % 2**31
        steps = self.settings.steps(seed, one_step=stage.one_step, epochs=self.options.get("epochs", 1))
        student = Student.of(copy.deepcopy(self.snapshots[stage.begin]), self.learner, self.options, steps)
        if (state := self.states.get(place)) is not None:
            kept_on = state if self.settings.keep_optimizer else {**state, "optimizer": student.optimizer.state_dict()}
            student.load(kept_on)
        path = run.path / f"stage-{place}.pt"
        if path.is_file():
            student.load(torch.load(path, weights_only=True))
        else:
            checkpoint = run.path / "checkpoint.pt"
            done = torch.load(checkpoint, weights_only=True)["step"] if checkpoint.is_file() else 0
            _forget_stage(run, place, done)
            fit = Fit(
                self.learner, judged.groups, judged.law, judged.opponent, self.snapshots, plain_writer(judged.laws),
                steps, self.tokenizer.pad_token_id,
            )  # fmt: skip
            title = f"round {number}: learning"
            with bar(title, len(steps.order(len(judged.groups))), self.console) as step:
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
        return {name: float(np.mean([m[name] for m in means])) for name in ("loss", "grad_norm") if means} | (
            {"beta": student.options["beta"]} if self.settings.kl_target is not None else {}
        )

    def _keep(self, run: Run, plan: Plan, deployed: Any) -> None:
        """What the next round needs beside the model: other snapshots, and what students carry on."""
        names = {name for stage in plan.stages if self.snapshots[name := stage.keep] is not deployed}
        weights = {name: self.snapshots[name].state_dict() for name in sorted(names)}
        save(run.path / "state.pt", {"snapshots": weights, "states": self.states})

    def _take_up(self, run: Run, plan: Plan) -> None:
        """Go on from a finished round."""
        if self.monitors is not None and self._looks(number := int(run.name.rpartition("-")[2])):
            self.monitors.remember(self._draw(self.watching, {"previous": 1.0}, 1, number, "watched"))
        if not (run.path / "state.pt").is_file():
            return  # not the last one
        model, _ = load(str(run.path / "model"), dtype=self.settings.dtype)
        state = torch.load(run.path / "state.pt", weights_only=True)
        for name in {stage.keep for stage in plan.stages}:
            self.snapshots[name] = model
        for name, weights in state["snapshots"].items():
            other = copy.deepcopy(model)
            other.load_state_dict(weights)
            self.snapshots[name] = other
        self.snapshots["previous"] = model
        self.states = state["states"]

    def _looks(self, number: int) -> bool:
        """Whether the monitors look at this round."""
        return number % self.settings.monitor_every == 0 or number == self.settings.rounds

    # ------------------------------------------------------------------ watch and tell

    def watch_over(self, judges: _Judges) -> None:
        """Begin to watch: the reference answers the prompts that are kept out."""
        if not self.watching:
            return
        path = self.folder.path / "watched.jsonl"

        def watching(judge: Asked) -> Asked:
            return Recorded(judge, path=path.with_name(f"watched-{hashed(judge.name) % 16**8:08x}.jsonl"))

        each = {"proxy": judges.loop, "independent": judges.independent, "gold": judges.gold}
        self.folder.round_path(0).mkdir(parents=True, exist_ok=True)
        first = self._draw(self.watching, {"reference": 1.0}, 1, 0, "watched")
        self.monitors = Monitors(
            self.watching,
            {name: watching(judge) for name, judge in each.items() if judge is not None},
            {name: watching(judge) for name, judge in judges.groups.items()},
            first,
            self.settings.monitor_opponents,
        )

    def watched(self, number: int, model: Any) -> dict[str, Any]:
        """A round's policy on the prompts kept out."""
        if self.monitors is None or not self._looks(number):
            return {}
        before, self.snapshots["previous"] = self.snapshots["previous"], model
        drawn = self._draw(self.watching, {"previous": 1.0}, 1, number, "watched")
        self.snapshots["previous"] = before
        return self.monitors.watch(drawn, model, self.snapshots["reference"])

    def _answered(self, judged: Judged) -> dict[str, float]:
        silent = sum(row.meta.get("answer") == "none" for row in judged.rows)
        line = {"samples/no_answer": silent / max(len(judged.rows), 1)}
        if judged.rewards:
            line["samples/reward"] = float(np.mean(judged.rewards))
        return line

    def _data(self, rows: Sequence[Any], judged: Judged, lost: Counter[str]) -> dict[str, Any]:
        counts = {"used": len(judged.groups), "dropped": dict(lost), "cut": {}, "examples": {}}
        feedback = kept(rows, number=0, learner=self.learner.name)
        return {"fingerprint": feedback.fingerprint, "questions": len(rows), "train": counts, "eval": None}

    def _record_round(self, run: Run) -> None:
        """What makes a round's folder a run of its own."""
        config = {**self.folder.config, "round": int(run.name.rpartition("-")[2])}
        run.write("config.json", config)
        run.write("reference.json", {**self.folder.reference, **_seen_from_round(self.folder.reference)})

    def _say(self, number: int, line: Mapping[str, Any]) -> None:
        names = ("loss", "kl", "proxy/win_rate", "independent/win_rate", "gold/win_rate", "worst_group/win_rate", "gap")
        said = [f"{name} {line[name]:.3f}" for name in names if name in line]
        self.console.print(f"round {number}/{self.settings.rounds}  {'  '.join(said)}", highlight=False)
        for warning in line.get("warnings", ()):
            self.console.print(f"warning: {warning}", markup=False, highlight=False)


def _seen_from_round(reference: Mapping[str, Any]) -> dict[str, Any]:
    return {"path": f"../{reference['path']}"} if reference["path"] else {}


def _forget_stage(run: Run, place: int, step: int) -> None:
    """Drop metrics of this stage's later steps: learning goes on from this one and writes them again."""
    kept_on = [m for m in run.metrics if m["stage"] < place or (m["stage"] == place and m["step"] <= step)]
    (run.path / "metrics.jsonl").unlink(missing_ok=True)
    for line in kept_on:
        run.log(line)


def _model(folder: OnlineRun, settings: OnlineOptions, asked: _Prompts, console: Console) -> tuple[Any, Any]:
    """The model to start from; one made on the spot is made once and kept."""
    saved = folder.path / "reference"
    if saved.is_dir():
        return load(str(saved), dtype=settings.dtype)
    if not settings.model.startswith("lab:"):
        return load(settings.model, dtype=settings.dtype)
    from pluralign.lab.tiny import written

    texts = sorted({written((*p, *asked.answers.get(prompt_key(p), ()))) for p in asked.prompts})
    with bar(f"making {settings.model}", None, console) as step:
        model, tokenizer = load(
            settings.model, texts=texts, seed=settings.seed, steps=settings.pretrain_steps, progress=step
        )
    save_model(saved, model, tokenizer)
    return model, tokenizer


def _record(
    folder: OnlineRun,
    settings: OnlineOptions,
    learner: Learner,
    options: Mapping[str, Any],
    given: Mapping[str, Any],
    loop: _Loop,
    asked: _Prompts,
    fingerprint: str,
) -> None:
    made = settings.model.startswith("lab:")
    reference = {"name": settings.model, "path": "reference" if made else None, "fingerprint": fingerprint}
    folder.write("reference.json", reference)
    counts = {"used": len(loop.training), "dropped": {}, "cut": {}, "examples": {}}
    watched = {"used": len(loop.watching), "dropped": {}, "cut": {}, "examples": {}}
    parts = {"split_by": "prompt", "train": counts, "eval": watched if loop.watching else None}
    folder.write("data.json", {"fingerprint": asked.fingerprint, **parts})
    steps = settings.steps(settings.seed, epochs=options.get("epochs", 1))
    # Last, for it makes the folder a run that can go on.
    folder.write(
        "config.json",
        {
            "options": dict(given),
            "objective": learner.name,
            "objective_options": dict(options),
            "equation": learner.equation,
            "online": settings.model_dump(),
            "training": vars(steps),
            "judge": None if loop.judge is None else loop.judge.name,
            "versions": versions(),
            "command": sys.argv,
        },
    )


def _mixed(snapshots: Mapping[str, Any], weights: Anchors) -> Any:
    """The policy that a mixture of snapshots stands for.

    Of several, the weights are summed: for a policy whose logits are linear in its weights that is the geometric
    mixture itself, for others the usual stand-in.
    """
    chosen = {name: weight for name, weight in weights.items() if weight}
    if list(chosen.values()) == [1.0]:
        return snapshots[next(iter(chosen))]
    mixed = copy.deepcopy(snapshots[next(iter(chosen))])
    parts = [(dict(snapshots[name].named_parameters()), weight) for name, weight in chosen.items()]
    with torch.no_grad():
        for name, parameter in mixed.named_parameters():
            parameter.copy_(sum(weight * own[name] for own, weight in parts))
    return mixed


__all__ = ["run"]

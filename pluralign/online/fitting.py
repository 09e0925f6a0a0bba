"""The neural learner step: gradient steps of any learner on samples that were drawn and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pluralign.errors import OptionError
from pluralign.objectives import PolicyBatch
from pluralign.online import offline
from pluralign.online.drawn import hashed
from pluralign.online.forward import Numbers, numbers
from pluralign.online.groups import Each, Group, by_model, column, scored, spread, tokens_of
from pluralign.online.kl import adapted
from pluralign.online.learner import Learner
from pluralign.online.offline import Pairs
from pluralign.online.samples import SampleBatch, SampleTokens
from pluralign.online.student import Steps, Student, save
from pluralign.policy.batch import TokenBatch
from pluralign.policy.logprobs import logprobs
from pluralign.train.data import Row

EXACT = {"kl", "tokens.kl", "tokens.reference_kl"}
"""What needs whole next-token distributions."""


@dataclass
class Fit:
    """A learner's samples, and what frozen snapshots say of them.

    snapshots: models by name. writer: the snapshot whose plain draws the samples are; None where groups carry their
    own log-probs. law, opponent: how often each of the K responses is drawn. offline: pairs beside the samples.
    rewards: names of the judges that give one each, for learners that weigh several.
    """

    learner: Learner
    groups: Sequence[Group]
    law: Sequence[float]
    opponent: Sequence[float]
    snapshots: Mapping[str, Any]
    writer: str | None
    steps: Steps
    pad_id: int
    offline: Pairs | None = None
    rewards: Sequence[str] = ()
    frozen: dict[str, Each] = field(default_factory=dict)
    values: Each | None = None

    def run(
        self,
        student: Student,
        *,
        checkpoint: Path | None = None,
        log: Callable[[dict[str, Any]], None] = lambda _: None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Train the student to the end of the fit, from where `checkpoint` left off if there is one.

        log: told of every step. Raises `OptionError` where a loss is not a finite number.
        """
        order = self.steps.order(len(self.groups))
        student.step = 0
        # Frozen numbers are those of the student as it came, so they are computed before a checkpoint moves it.
        self.frozen = by_model(self.snapshots, self._scored)
        self.values = self._valued(student)
        self._standardise(student)
        if checkpoint is not None and checkpoint.is_file():
            student.load(torch.load(checkpoint, weights_only=True))
        student.model.train()
        for step in range(student.step, len(order)):
            line = self._step(student, order[step])
            student.step = step + 1
            log({"step": student.step, "epoch": student.step / len(order) * self.steps.epochs, **line})
            progress(student.step)
            if checkpoint is not None and student.step % self.steps.save_steps == 0 and student.step < len(order):
                save(checkpoint, student.state())
        student.model.eval()

    def _standardise(self, student: Student) -> None:
        """Bring the judges' rewards to one scale on the first samples of the run, where the learner asks for it."""
        weighing, now = self.learner.weighing, student.multipliers
        if weighing is None or now is None or student.taken or not weighing.standardise(**student.options):
            return
        rewards = np.concatenate([group.components for group in self.groups if group.components is not None])
        student.multipliers = now.standardised(rewards, np.tile(self.law, len(rewards) // len(self.law)))

    def _step(self, student: Student, places: Sequence[int]) -> dict[str, Any]:
        student.optimizer.zero_grad()
        loss, batch = self._backward(student, places)
        if not bool(torch.isfinite(loss)):
            raise OptionError(
                f"the loss of {self.learner.name} is {float(loss)} at step {student.step + 1}; "
                "lower the learning rate or look at the judge's rewards"
            )
        every = [p for group in student.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(every, self.steps.max_grad_norm)
        warm = min((student.taken + 1) / max(self.steps.warmup_steps, 1), 1.0)
        rates = (self.steps.learning_rate, self.steps.value_learning_rate)
        for group, rate in zip(student.optimizer.param_groups, rates, strict=False):
            group["lr"] = warm * rate
        student.optimizer.step()
        student.taken += 1
        line: dict[str, Any] = {
            "split": "train",
            "loss": float(loss),
            "grad_norm": float(norm),
            "length": _mean(batch.length),
        }
        line["learning_rate"] = self.steps.learning_rate
        if "reference" in batch.snapshots:
            line["kl"] = _mean(batch.logp.detach() - batch.snapshots["reference"])
            if self.steps.kl_target is not None:
                line["beta"] = student.options["beta"] = adapted(
                    student.options["beta"],
                    line["kl"],
                    target=self.steps.kl_target,
                    samples=batch.logp.numel(),
                    horizon=self.steps.kl_horizon,
                )
        if batch.reward is not None:
            line["reward"] = _mean(batch.reward)
        if (weighing := self.learner.weighing) is not None and (now := student.multipliers) is not None:
            worth = np.asarray(batch.worth.double().cpu())
            raw, used = worth * now.scale + now.centre, now.values
            student.multipliers = weighing.after(now, worth, **student.options)
            for name, reward, multiplier in zip(self.rewards, raw.tolist(), used.tolist(), strict=True):
                line |= {f"reward/{name}": reward, f"multiplier/{name}": multiplier}
        return line

    def _backward(self, student: Student, places: Sequence[int]) -> tuple[torch.Tensor, SampleBatch]:
        """The step's loss and its gradient, exact however many micro-batches it takes.

        The loss depends on the weights through the numbers of its tokens alone, so that its slopes in those are all
        that a second pass, part by part, needs (Gao et al. 2021).
        """
        pairs = [] if self.offline is None else self.offline.of_step(student.taken, len(places))
        parts, sides = self._parts(places), self._parts(pairs)
        if len(parts) == 1 and len(sides) < 2:
            logp = self._of_pairs(student.model, pairs) if pairs else None
            loss, batch = self._loss(student, places, self._numbers(student, places), pairs, logp)
            loss.backward()
            return loss.detach(), batch
        with torch.no_grad():
            each = [self._numbers(student, part) for part in parts]
            beside = [self._of_pairs(student.model, side) for side in sides]
        width = max(one.logp.shape[-1] for one in each)
        leaves = {
            name: torch.cat([_wide(getattr(one, name), width) for one in each]).requires_grad_()
            for name in ("logp", "value", "kl", "reference_kl", "surplus")
            if getattr(each[0], name) is not None
        }
        judged = torch.cat(beside).requires_grad_() if beside else None
        loss, batch = self._loss(student, places, Numbers(**leaves), pairs, judged)
        inputs = [*leaves.values(), *([] if judged is None else [judged])]
        slopes = torch.autograd.grad(loss, inputs, allow_unused=True)
        for at, part in enumerate(parts):
            found = self._numbers(student, part)
            rows = slice(at * self.steps.micro_batch, at * self.steps.micro_batch + len(part))
            terms = [
                (_wide(getattr(found, name), width) * slope[rows]).sum()
                for name, slope in zip(leaves, slopes, strict=False)
                if slope is not None
            ]
            torch.stack(terms).sum().backward()
        for at, side in enumerate(sides):
            rows = slice(at * self.steps.micro_batch, at * self.steps.micro_batch + len(side))
            (self._of_pairs(student.model, side) * slopes[-1][rows]).sum().backward()
        return loss.detach(), batch

    def _parts(self, all_: Sequence[Any]) -> list[Sequence[Any]]:
        """As many at a time as there is memory for."""
        return [all_[i : i + self.steps.micro_batch] for i in range(0, len(all_), self.steps.micro_batch)]

    def _loss(
        self, student: Student, places: Sequence[int], found: Numbers, pairs: Sequence[Row], logp: torch.Tensor | None
    ) -> tuple[torch.Tensor, SampleBatch]:
        batch = self._batch(student, places, found)
        if logp is not None:
            batch = replace(batch, offline=self._beside(pairs, logp))
        return batch.mean(self.learner(batch, **student.options)), batch

    def _numbers(self, student: Student, places: Sequence[int]) -> Numbers:
        exact = bool(self.learner.needs(**student.options) & EXACT)
        tokens = self._tokens(places, student.model.device)
        reference = self.snapshots["reference"] if exact else None
        far = student.options.get("extrapolate", 0.0)
        beyond = (self.snapshots["previous"], far) if far else None
        return numbers(student.model, tokens, head=student.head, reference=reference, extrapolate=beyond)

    def _batch(self, student: Student, places: Sequence[int], found: Numbers) -> SampleBatch:
        groups, device = [self.groups[i] for i in places], found.logp.device
        tokens = self._tokens(places, device)

        def spread_out(values: Each) -> torch.Tensor:
            return spread([values[i] for i in places], groups, tokens).to(device)

        frozen = {name: spread_out(values) for name, values in self.frozen.items()}
        written = None if self.writer is None else frozen[self.writer]
        # A response that was refined or rewritten has no log-probs under its prompt, and then none is told.
        logps = [group.logp for group in self.groups if group.logp is not None]
        if written is None and len(logps) == len(self.groups):
            written = spread_out(logps)
        # Of this step and no other, so that a run that goes on draws what an unbroken one does.
        random = torch.Generator().manual_seed(hashed(self.steps.seed, student.taken))
        own = None
        if self.learner.tokens or any(name.startswith("tokens.") for name in self.learner.needs(**student.options)):
            own = SampleTokens(
                mask=tokens.response_mask.view(*tokens.shape, -1).to(found.logp.dtype),
                logp=found.logp,
                sampled_logp=written,
                value=found.value,
                sampled_value=None if self.values is None else spread_out(self.values),
                kl=found.kl,
                reference_kl=found.reference_kl,
                surplus=found.surplus,
                uniform=torch.rand(found.logp.shape, generator=random).to(found.logp),
                snapshots=frozen,
            )
        components, multipliers = column(groups, "components", device), None
        if student.multipliers is not None and components is not None:
            centre, scale = torch.tensor(student.multipliers.centre), torch.tensor(student.multipliers.scale)
            components = (components - centre.to(components)) / scale.to(components)
            multipliers = torch.tensor(student.multipliers.values).to(components)
        return SampleBatch(
            logp=found.logp.sum(-1),
            law=torch.tensor([list(self.law)] * len(groups), device=device),
            opponent=torch.tensor([list(self.opponent)] * len(groups), device=device),
            sampled_logp=None if written is None else written.sum(-1),
            snapshots={name: values.sum(-1) for name, values in frozen.items()},
            reward=column(groups, "reward", device),
            preference=column(groups, "preference", device),
            components=components,
            multipliers=multipliers,
            greedy_reward=column(groups, "greedy_reward", device),
            kl=None if found.kl is None else found.kl.sum(-1),
            length=tokens.length.to(found.logp.dtype),
            tokens=own,
            uniform=torch.rand((*tokens.shape, tokens.shape[1]), generator=random).to(found.logp),
        )

    def _tokens(self, places: Sequence[int], device: Any) -> TokenBatch:
        return tokens_of([self.groups[i] for i in places], self.pad_id, device)

    def _of_pairs(self, model: Any, rows: Sequence[Row]) -> torch.Tensor:
        """Log-probs of both sides, [n, 2]."""
        found: torch.Tensor = logprobs(model, offline.tokens(rows, self.pad_id, model.device)).logp
        return found

    def _beside(self, pairs: Sequence[Row], logp: torch.Tensor) -> PolicyBatch:
        with torch.no_grad():
            before = [self._of_pairs(self.snapshots["reference"], side) for side in self._parts(pairs)]
        return offline.batch(pairs, logp, torch.cat(before))

    def _scored(self, model: Any) -> Each:
        return self._of_groups(model, lambda tokens: numbers(model, tokens).logp)

    def _valued(self, student: Student) -> Each | None:
        head = student.head
        if head is None:
            return None

        def values(tokens: TokenBatch) -> torch.Tensor:
            found = numbers(student.model, tokens, head=head).value
            assert found is not None
            return found

        return self._of_groups(student.model, values)

    def _of_groups(self, model: Any, of: Callable[[TokenBatch], torch.Tensor]) -> Each:
        return list(scored(model, self.groups, self.steps.micro_batch, self.pad_id, of))


def _wide(values: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(values, (0, width - values.shape[-1]))


def _mean(values: Any) -> float:
    return float(values.detach().double().mean())

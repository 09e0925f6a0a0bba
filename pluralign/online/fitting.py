"""The neural learner step: gradient steps of any learner on samples that were drawn and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign.errors import OptionError
from pluralign.online.forward import Numbers, numbers
from pluralign.online.kl import adapted
from pluralign.online.learner import Learner
from pluralign.online.samples import SampleBatch, SampleTokens
from pluralign.online.student import Steps, Student, save
from pluralign.policy.batch import TokenBatch, collate
from pluralign.policy.encode import Encoded

Array = NDArray[np.float32]
Each = Sequence[Sequence[Array]]
"""Numbers at response tokens: of each prompt, of each response, one a token."""


@dataclass(frozen=True)
class Group:
    """One prompt and its K samples, as a learner is to see them.

    logp: log-prob of each token under the law it was drawn from, where that is no plain snapshot. reward [K];
    preference [K, K], one half where nothing was asked; greedy_reward: that of the most probable response.
    """

    encoded: Encoded
    logp: tuple[Array, ...] | None = None
    reward: Array | None = None
    preference: Array | None = None
    greedy_reward: float | None = None


@dataclass
class Fit:
    """A learner's samples, and what frozen snapshots say of them.

    snapshots: models by name. writer: the snapshot whose plain draws the samples are; None where groups carry their
    own log-probs. law, opponent: how often each of the K responses is drawn. offline: pairs beside the samples.
    """

    learner: Learner
    groups: Sequence[Group]
    law: Sequence[float]
    opponent: Sequence[float]
    snapshots: Mapping[str, Any]
    writer: str | None
    steps: Steps
    pad_id: int
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
        self.frozen = _by_model(self.snapshots, self._scored)
        self.values = self._valued(student)
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
        return line

    def _backward(self, student: Student, places: Sequence[int]) -> tuple[torch.Tensor, SampleBatch]:
        """The step's loss and its gradient, exact however many micro-batches it takes.

        The loss depends on the weights through the numbers of its tokens alone, so that its slopes in those are all
        that a second pass, part by part, needs (Gao et al. 2021).
        """
        tokens = self._tokens(places, student.model.device)
        parts = [places[i : i + self.steps.micro_batch] for i in range(0, len(places), self.steps.micro_batch)]
        if len(parts) == 1:
            found = self._numbers(student, tokens)
            batch = self._batch(places, tokens, found)
            loss = batch.mean(self.learner(batch, **student.options))
            loss.backward()
            return loss.detach(), batch
        with torch.no_grad():
            each = [self._numbers(student, self._tokens(part, student.model.device)) for part in parts]
        width = tokens.input_ids.shape[1]
        leaves = {
            name: torch.cat([_wide(getattr(one, name), width) for one in each]).requires_grad_()
            for name in ("logp", "value", "kl")
            if getattr(each[0], name) is not None
        }
        batch = self._batch(places, tokens, Numbers(**leaves))
        loss = batch.mean(self.learner(batch, **student.options))
        slopes = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()), allow_unused=True), strict=True))
        done = 0
        for part in parts:
            found = self._numbers(student, self._tokens(part, student.model.device))
            rows = slice(done, done + len(part))
            terms = [
                (_wide(getattr(found, name), width) * slope[rows]).sum()
                for name, slope in slopes.items()
                if slope is not None
            ]
            torch.stack(terms).sum().backward()
            done += len(part)
        return loss.detach(), batch

    def _numbers(self, student: Student, tokens: TokenBatch) -> Numbers:
        needs = self.learner.needs(**student.options)
        exact = bool(needs & {"kl", "tokens.kl"}) or student.options.get("kl") == "exact"
        head = student.head
        return numbers(student.model, tokens, head=head, reference=self.snapshots["reference"] if exact else None)

    def _batch(self, places: Sequence[int], tokens: TokenBatch, found: Numbers) -> SampleBatch:
        groups = [self.groups[i] for i in places]
        mask = tokens.response_mask.view(*tokens.shape, -1).to(found.logp.dtype)
        device = found.logp.device

        def spread(values: Each) -> torch.Tensor:
            return _spread([values[i] for i in places], groups, tokens).to(device)

        def of(name: str) -> torch.Tensor | None:
            rows = [getattr(group, name) for group in groups]
            if any(row is None for row in rows):
                return None
            return torch.tensor(np.stack([np.asarray(row, dtype=np.float32) for row in rows]), device=device)

        frozen = {name: spread(values) for name, values in self.frozen.items()}
        if self.writer is not None:
            written = frozen[self.writer]
        else:
            written = spread([[] if group.logp is None else group.logp for group in self.groups])
        looks = self.learner.tokens or any(n.startswith("tokens.") for n in self.learner.needs())
        own = None
        if looks:
            own = SampleTokens(
                mask=mask,
                logp=found.logp,
                sampled_logp=written,
                value=found.value,
                sampled_value=None if self.values is None else spread(self.values),
                kl=found.kl,
                snapshots=frozen,
            )
        rows = len(groups)
        return SampleBatch(
            logp=found.logp.sum(-1),
            law=torch.tensor([list(self.law)] * rows, device=device),
            opponent=torch.tensor([list(self.opponent)] * rows, device=device),
            sampled_logp=written.sum(-1),
            snapshots={name: values.sum(-1) for name, values in frozen.items()},
            reward=of("reward"),
            preference=of("preference"),
            greedy_reward=of("greedy_reward"),
            kl=None if found.kl is None else found.kl.sum(-1),
            length=tokens.length.to(found.logp.dtype),
            tokens=own,
        )

    def _tokens(self, places: Sequence[int], device: Any) -> TokenBatch:
        return collate([self.groups[i].encoded for i in places], pad_id=self.pad_id).to(device)

    def _scored(self, model: Any) -> Each:
        return list(self._over(model, lambda tokens: numbers(model, tokens).logp))

    def _valued(self, student: Student) -> Each | None:
        head = student.head
        if head is None:
            return None

        def values(tokens: TokenBatch) -> torch.Tensor:
            found = numbers(student.model, tokens, head=head).value
            assert found is not None
            return found

        return list(self._over(student.model, values))

    @torch.no_grad()
    def _over(self, model: Any, of: Callable[[TokenBatch], torch.Tensor]) -> Iterator[tuple[Array, ...]]:
        """Numbers at the response tokens of every group, in groups of `micro_batch`: always the same ones together."""
        model.eval()
        size = self.steps.micro_batch
        for start in range(0, len(self.groups), size):
            places = range(start, min(start + size, len(self.groups)))
            tokens = self._tokens(places, model.device)
            found = of(tokens).float().cpu().numpy()
            for row, place in zip(found, places, strict=True):
                yield tuple(row[k, begin:end] for k, (begin, end) in enumerate(_ends(self.groups[place].encoded)))


def _by_model(snapshots: Mapping[str, Any], score: Callable[[Any], Each]) -> dict[str, Each]:
    """Each model scored once, whatever names it goes by."""
    done: dict[int, Each] = {}
    for model in snapshots.values():
        if id(model) not in done:
            done[id(model)] = score(model)
    return {name: done[id(model)] for name, model in snapshots.items()}


def _ends(row: Encoded) -> list[tuple[int, int]]:
    """Where each response begins and ends in its sequence."""
    head = len(row.prompt_ids)
    return [(head, head + len(ids)) for ids in row.response_ids]


def _spread(values: Each, groups: Sequence[Group], tokens: TokenBatch) -> torch.Tensor:
    """Numbers at response tokens in their places, [B, K, T], zero elsewhere."""
    whole = np.zeros((*tokens.shape, tokens.input_ids.shape[1]), dtype=np.float32)
    for i, (row, group) in enumerate(zip(values, groups, strict=True)):
        for k, ((begin, end), each) in enumerate(zip(_ends(group.encoded), row, strict=True)):
            whole[i, k, begin:end] = each
    mask = tokens.response_mask.view(*tokens.shape, -1).cpu()
    return torch.from_numpy(whole) * mask


def _wide(values: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(values, (0, width - values.shape[-1]))


def _mean(values: Any) -> float:
    return float(values.detach().double().mean())

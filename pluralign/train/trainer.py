"""`transformers.Trainer` for policy objectives.

What it changes: the loss is the mean over the whole optimizer step, however that is cut into micro-batches and
processes; statistics an objective takes from the step are computed before its first backward pass; statistics over
steps are part of the checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch.utils.data import BatchSampler, DataLoader, Sampler, Subset
from transformers import Trainer

from pluralign.objectives import Need, Objective, PolicyBatch, Totals
from pluralign.objectives.step import Surrogate, joined, moved, two_pass
from pluralign.policy.logprobs import logprobs
from pluralign.policy.statistics import Encode, Reference
from pluralign.train import heads
from pluralign.train.batches import Examples, batch_of, policy_batch, unscored
from pluralign.train.memory import Memory
from pluralign.train.metrics import NAMES, REWARD_NAMES, Tally, add_metrics, add_slopes
from pluralign.train.order import EpochOrder, TokenBatches
from pluralign.train.scorer import RewardScorer, Scorer, with_random, without_dropout

STATE = "objective_state.json"


class PolicyTrainer(Trainer):
    """Trains a causal LM with an `Objective` on `Examples`.

    max_tokens: of a batch, in place of the number of rows that the training arguments give; see `TokenBatches`.
    """

    def __init__(
        self,
        *,
        objective: Objective,
        options: dict[str, Any],
        pad_id: int,
        reference: Reference | None = None,
        feature_layer: int = -1,
        moving: bool = False,
        head: torch.nn.Module | None = None,
        encode: Encode | None = None,
        reward: bool = False,
        max_tokens: int | None = None,
        **rest: Any,
    ) -> None:
        self.objective, self.options, self.needs = objective, options, objective.needs(**options)
        self.tally = Tally()
        self.memory = Memory(objective, options)
        self.head, self.max_tokens = head, max_tokens
        self.scorer: Callable[..., PolicyBatch] = (
            RewardScorer(options.get("beta"))
            if reward
            else Scorer(self.needs, options.get("beta"), reference, feature_layer, moving, head, encode)
        )
        self.names = REWARD_NAMES if reward else NAMES
        self._step: dict[str, Any] = {}
        self._surrogates: list[Surrogate] = []
        self._step_loss = torch.zeros(())
        super().__init__(data_collator=partial(batch_of, pad_id=pad_id), **rest)
        # compute_loss already returns this micro-batch's share of the step's mean.
        self.loss_is_scaled_for_ga = True
        if Need.WHOLE_STEP in self.needs:
            without_dropout(self.model)
        if head is not None:
            head.to(self.args.device)
            if self.accelerator.num_processes > 1:
                # It stands beside the wrapped model, so its gradients are averaged here.
                for parameter in head.parameters():
                    parameter.register_hook(lambda slope: self.accelerator.reduce(slope, reduction="mean"))

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], None]:
        """The micro-batches of one optimizer step; what their losses share is computed here."""
        self.memory.end_of_step(self._sum)
        if self.head is not None:
            # The trainer clears the gradients of its model only.
            self.head.zero_grad()
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if batches:
            if Need.RANDOM in self.needs:
                batches = [with_random(batch, self.args.data_seed, self.state.global_step) for batch in batches]
            prepared = [self._prepare_inputs(batch) for batch in batches]
            self._step = self._shared(prepared)
            if Need.WHOLE_STEP in self.needs:
                self._first_pass(prepared)
        return batches, None

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        """This micro-batch's part of the mean loss of its step."""
        batch = self.scorer(model, inputs, self._step)
        if Need.WHOLE_STEP in self.needs:
            # A number with the part's gradient; its value is the part's equal share of the step's loss.
            slope = self._surrogates.pop(0)(batch)
            loss = slope - slope.detach() + self._step_loss
        else:
            loss = batch.mean(self.objective(batch, **self.options))
        add_slopes(self.tally, batch, loss)
        # Gradients are averaged over processes; the step's mean is a sum over them.
        loss = loss * self.accelerator.num_processes
        with torch.no_grad():
            add_metrics(self.tally, batch, self.objective.score(batch, **self.options))
            self.memory.add(batch)
        return (loss, batch) if return_outputs else loss

    def _first_pass(self, inputs: list[dict[str, Any]]) -> None:
        """The whole step scored without a gradient, its loss, and what the second pass has to differentiate."""
        with torch.no_grad():
            own = [self.scorer(self.model, each, self._step) for each in inputs]
        parts, first = self._of_all_processes(own)
        loss, surrogates = two_pass(self.objective, parts, **self.options)
        self._surrogates = surrogates[first : first + len(own)]
        self._step_loss = loss / len(parts)
        self.memory.take(joined(parts))

    def _of_all_processes(self, parts: list[PolicyBatch]) -> tuple[list[PolicyBatch], int]:
        """The micro-batches of all processes, in the order of their ranks, and where this one's begin."""
        if self.accelerator.num_processes == 1:
            return parts, 0
        rank = self.accelerator.process_index
        everywhere = gather_object([(rank, moved(part, "cpu")) for part in parts])
        first = sum(1 for r, _ in everywhere if r < rank)
        return [moved(part, self.args.device) for _, part in everywhere], first

    def evaluate(self, eval_dataset: Examples | None = None, *_: Any, **__: Any) -> dict[str, float]:
        """Loss and metrics of held-out rows against their own reference, the whole set taken as one step."""
        examples = self.eval_dataset if eval_dataset is None else eval_dataset
        # Each process takes every n-th row: none is counted twice to fill a batch up.
        mine = range(self.accelerator.process_index, len(examples), self.accelerator.num_processes)
        loader: DataLoader[Any] = DataLoader(
            Subset(examples, mine), self.args.per_device_eval_batch_size, collate_fn=self.data_collator
        )
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        training, tally = model.training, Tally()
        model.eval()
        with torch.no_grad():
            shared = self._shared([self._prepare_inputs(inputs) for inputs in loader])
            scored: Iterator[PolicyBatch] = (
                self.scorer(model, inputs, shared) for inputs in map(self._prepare_inputs, loader)
            )
            if Need.WHOLE_STEP in self.needs:
                scored = iter([joined(self._of_all_processes(list(scored))[0])])
            for batch in scored:
                weight = torch.ones_like(batch.logp[:, 0]) if batch.weight is None else batch.weight
                tally.add("loss", self.objective(batch, **self.options), weight)
                add_metrics(tally, batch, self.objective.score(batch, **self.options))
        model.train(training)
        metrics = {f"eval_{name}": value for name, value in tally.means(self._sum, ["loss", *self.names]).items()}
        self.log(dict(metrics))
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log; training lines get the means of the steps since the last one."""
        if "loss" in logs:
            logs |= self.tally.means(self._sum, self.names)
        super().log(logs, start_time)

    def _shared(self, batches: list[dict[str, Any]]) -> dict[str, Any]:
        """What the rows of one step know of each other: its sums, and the statistics the objective asks for."""
        own = [policy_batch(inputs, unscored(inputs), None).own_totals for inputs in batches]
        names = [f.name for f in fields(Totals)]
        sums = torch.zeros(len(names), dtype=torch.float64, device=self.args.device)
        for totals in own:
            sums += torch.stack([getattr(totals, name).double() for name in names])
        # The number type of the losses, not of the sums: a double would turn every loss into one.
        kind = torch.promote_types(self.model.dtype, torch.float32)
        shared: dict[str, Any] = {"totals": Totals(*self._sum(sums).to(kind))}
        if Need.MISMATCHED in self.needs:
            shared["mismatched_log_ratio"] = self._mean_mismatched(batches).to(kind)
        return shared | {"progress": self.progress} | self.memory.fields

    @torch.no_grad()
    def _mean_mismatched(self, batches: list[dict[str, Any]]) -> torch.Tensor:
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        sums = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        for inputs in batches:
            ratio = logprobs(model, inputs["mismatched"]).logp - inputs["ref_mismatched"]
            sums += torch.stack([(ratio[:, 0] * inputs["weight"]).double().sum(), inputs["weight"].double().sum()])
        total, weight = self._sum(sums)
        mean = torch.where(weight > 0, total / weight, torch.zeros_like(total))
        return mean[None]

    @property
    def progress(self) -> float:
        """Share of the steps already taken."""
        return self.state.global_step / self.state.max_steps if self.state.max_steps > 0 else 0.0

    def _sum(self, values: torch.Tensor) -> torch.Tensor:
        if self.accelerator.num_processes == 1:
            return values
        reduced: torch.Tensor = self.accelerator.reduce(values.to(self.args.device), reduction="sum")
        return reduced.to(values.device)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self.order()

    def order(self) -> EpochOrder:
        """The order of the rows in each epoch, where batches are of a number of rows."""
        batch = self.args.train_batch_size * self.accelerator.num_processes
        return EpochOrder(
            self.train_dataset.lengths,
            self.args.data_seed,
            order=self.args.train_sampling_strategy,
            fill=batch if self.accelerator.num_processes > 1 else 1,
            together=batch * self.args.gradient_accumulation_steps,
        )

    def batches(self) -> Sampler[list[int]]:
        """The rows of each batch of an epoch, over all processes."""
        if self.max_tokens is None:
            return BatchSampler(self.order(), self.args.train_batch_size, drop_last=self.args.dataloader_drop_last)
        return TokenBatches(
            self.train_dataset.lengths,
            self.args.data_seed,
            self.max_tokens,
            order=self.args.train_sampling_strategy,
            fill=self.accelerator.num_processes,
        )

    def get_train_dataloader(self) -> Any:
        """Batches of rows, or of tokens."""
        if self.max_tokens is None:
            return super().get_train_dataloader()
        names = ("num_workers", "pin_memory", "persistent_workers", "prefetch_factor")
        given = {name: getattr(self.args, f"dataloader_{name}") for name in names}
        loader = DataLoader(self.train_dataset, batch_sampler=self.batches(), collate_fn=self.data_collator, **given)
        return self.accelerator.prepare(loader)

    def create_optimizer(self, *given: Any, **named: Any) -> Any:
        """The optimizer of the policy and of what is trained beside it."""
        new = self.optimizer is None
        optimizer = super().create_optimizer(*given, **named)
        if new and self.head is not None:
            optimizer.add_param_group({"params": list(self.head.parameters()), "weight_decay": heads.WEIGHT_DECAY})
        return optimizer

    def _save_rng_state(self, output_dir: str) -> None:
        """Also save what the objective remembers over steps."""
        super()._save_rng_state(output_dir)
        self.memory.end_of_step(self._sum)
        if self.args.should_save:
            (Path(output_dir) / STATE).write_text(json.dumps(self.memory.state))
            if self.head is not None:
                heads.save(self.head, Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Also restore what the objective remembers over steps: the first step already uses it."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.memory.load(json.loads((Path(checkpoint) / STATE).read_text()))
            if self.head is not None:
                heads.load(self.head, Path(checkpoint))

"""The same DPO run twice: TRL's `DPOTrainer` and ours, on the same weights, words and order, taking turns."""

from __future__ import annotations

import copy
import ctypes
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
import trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback, TrainingArguments

from pluralign.feedback import read
from pluralign.objectives import find
from pluralign.policy.encode import Encoder
from pluralign.policy.logprobs import logprobs
from pluralign.train.batches import Examples
from pluralign.train.data import prepare
from pluralign.train.trainer import PolicyTrainer

Texts = list[dict[str, str]]
BATCH = 8
SETS = {"A": ((376, 392), (120, 136)), "B": ((56, 72), (16, 256))}
"""Shortest and longest prompt and response, in words; a word is a token, and a response gets an EOS."""


def words_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer of which every word w0, w1, ... is one token."""
    ids = {"<pad>": 0, "</s>": 1} | {f"w{i}": i + 2 for i in range(vocabulary - 2)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")


def texts(prompt: tuple[int, int], response: tuple[int, int], rows: int, vocabulary: int) -> Texts:
    """Random words; lengths drawn evenly between the two bounds."""
    draw = random.Random(0)

    def some(bounds: tuple[int, int]) -> str:
        return " ".join(f"w{draw.randrange(vocabulary - 2)}" for _ in range(draw.randint(*bounds)))

    def row() -> dict[str, str]:
        return {"prompt": some(prompt), "chosen": " " + some(response), "rejected": " " + some(response)}

    return [row() for _ in range(rows)]


def llama(hidden: int = 512, vocabulary: int = 8192, layers: int = 6) -> LlamaForCausalLM:
    """A Llama with random weights; heads of 64, a gated layer of 8/3 the width."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=int(hidden * 8 / 3 / 32) * 32,
        num_hidden_layers=layers,
        num_attention_heads=max(hidden // 64, 1),
        num_key_value_heads=max(hidden // 64, 1),
        max_position_embeddings=8192,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


COMMON: dict[str, Any] = {
    "per_device_train_batch_size": BATCH,
    "learning_rate": 1e-5,
    "logging_steps": 1,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
    "use_cpu": True,
    "bf16": False,
    "train_sampling_strategy": "sequential",
    "data_seed": 0,
}


def peer(model: Any, rows: Texts, tokenizer: Any, *, precompute: bool = False, **rest: Any) -> trl.DPOTrainer:
    """TRL's trainer; its reference is a second copy, or computed beforehand."""
    settings = COMMON | {"gradient_checkpointing": False, "max_length": None} | rest
    arguments = trl.DPOConfig(output_dir=mkdtemp(), beta=0.1, precompute_ref_log_probs=precompute, **settings)
    reference = None if precompute else copy.deepcopy(model)
    # Its cache of the reference outlives a process; identical rows must not be found there.
    data = Dataset.from_list([row | {"run": str(time.time_ns())} for row in rows]) if precompute else None
    return trl.DPOTrainer(
        model, reference, args=arguments, train_dataset=data or Dataset.from_list(rows), processing_class=tokenizer
    )


class LiveReference(PolicyTrainer):
    """Ours, with the reference computed in every step, as its peer does unless told otherwise."""

    frozen: Any = None

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **rest: Any) -> Any:
        """The loss, after the reference's log-probs."""
        if self.frozen is not None:
            with torch.no_grad():
                inputs["ref_logp"] = logprobs(self.frozen, inputs["tokens"]).logp
        return super().compute_loss(model, inputs, *args, **rest)


def ours(model: Any, rows: Texts, tokenizer: Any, *, reference: Any = None, **rest: Any) -> LiveReference:
    """Our trainer. reference: log-probs computed beforehand, [N, 2]; left out, a second copy is asked in each step."""
    objective = find("dpo")
    prepared = prepare(read([dict(row) for row in rows]), objective, Encoder(tokenizer))
    trainer = LiveReference(
        objective=objective,
        options=objective.checked({"beta": 0.1}),
        pad_id=0,
        model=model,
        args=TrainingArguments(output_dir=mkdtemp(), remove_unused_columns=False, **(COMMON | rest)),
        train_dataset=Examples(prepared.rows, ref_logp=reference),
        processing_class=tokenizer,
    )
    trainer.frozen = copy.deepcopy(model).requires_grad_(False) if reference is None else None
    return trainer


class Turn(TrainerCallback):
    """Lets a trainer go on for some steps, then the other one, and notes what each turn took in seconds."""

    def __init__(self, steps: int, mine: threading.Semaphore, other: threading.Semaphore) -> None:
        self.steps, self.mine, self.other = steps, mine, other
        self.cpu: list[float] = []
        self.wall: list[float] = []
        self._began = (0.0, 0.0)

    def _wait(self) -> None:
        self.mine.acquire()
        self._began = time.process_time(), time.perf_counter()

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Wait for the first turn."""
        self._wait()

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """After the last step of a turn: note it and wait for the next."""
        if state.global_step % self.steps == 0:
            self.cpu.append(time.process_time() - self._began[0])
            self.wall.append(time.perf_counter() - self._began[1])
            # The memory of one side is not there for the other to stumble over.
            ctypes.CDLL(None).malloc_trim(0)
            self.other.release()
            if state.global_step < state.max_steps:
                self._wait()


@dataclass
class Measured:
    """What a trainer did: seconds of each turn, the loss of each step."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def take_turns(first: Any, second: Any, steps: int) -> tuple[Measured, Measured]:
    """Train both to their end, `steps` at a time in turn; only one of them runs at any moment."""
    locks = threading.Semaphore(1), threading.Semaphore(0)
    turns = [Turn(steps, locks[0], locks[1]), Turn(steps, locks[1], locks[0])]
    losses = [recorded(trainer) for trainer in (first, second)]

    def run(trainer: Any, turn: Turn) -> None:
        trainer.add_callback(turn)
        try:
            trainer.train()
        finally:
            turn.other.release()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(run, *pair) for pair in zip((first, second), turns, strict=True)]:
            done.result()
    a, b = (Measured(turn.cpu, turn.wall, loss) for turn, loss in zip(turns, losses, strict=True))
    return a, b


def recorded(trainer: Any) -> list[float]:
    """The losses of a trainer, as it goes."""
    losses: list[float] = []
    compute = trainer.compute_loss

    def noted(*args: Any, **rest: Any) -> Any:
        found = compute(*args, **rest)
        losses.append(float(found[0] if isinstance(found, tuple) else found))
        return found

    trainer.compute_loss = noted
    return losses


def one_step(trainer: Any) -> Callable[[], None]:
    """Loss and gradients of the trainer's first batch, as something to call again and again."""
    batch = next(iter(trainer.get_train_dataloader()))
    model, trainer.current_gradient_accumulation_steps = trainer.model, 1

    def step() -> None:
        if isinstance(trainer, PolicyTrainer):
            trainer.get_batch_samples(iter([batch]), 1, trainer.args.device)
        trainer.training_step(model, dict(batch))
        model.zero_grad()

    return step


def alternating(calls: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """CPU seconds of each call, in `rounds` rounds of one after the other."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, noted in zip(calls, seconds, strict=True):
            began = time.process_time()
            call()
            noted.append(time.process_time() - began)
    return seconds


def resident(name: str) -> int:
    """VmRSS (now) or VmHWM (the peak) of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


class Peaks(TrainerCallback):
    """The most resident memory of each step."""

    def __init__(self) -> None:
        self.found: list[int] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Forget the peak so far."""
        Path("/proc/self/clear_refs").write_text("5")

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the peak."""
        self.found.append(resident("VmHWM"))

"""`lab:tiny` and larger: a tokenizer and a small language model made from the texts at hand.

For machines without a hub, for tests and for demonstrations. The result is an ordinary Llama model of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from pluralign.errors import OptionError
from pluralign.feedback.record import Message

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
BOS, EOS, PAD = "<|begin|>", "<|end|>", "<|pad|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")


def written(messages: Iterable[Message]) -> str:
    """Messages as the lab tokenizers' chat template writes them, plain texts as they are; what `build` learns from."""
    return "".join(f"<|{m.role}|>{m.content or ''}{EOS}" if m.role else m.content or "" for m in messages)


@dataclass(frozen=True)
class Preset:
    """Sizes of a lab model and its pre-training budget: optimizer steps of `batch` windows of `window` tokens."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    steps: int
    batch: int = 16
    window: int = 128
    learning_rate: float = 3e-3


PRESETS = {
    "tiny": Preset(vocabulary=2048, hidden=96, layers=3, heads=4, steps=300),
    "small": Preset(vocabulary=4096, hidden=192, layers=4, heads=6, steps=600),
    "base": Preset(vocabulary=8192, hidden=384, layers=6, heads=6, steps=1500),
}


def build(
    preset: str,
    texts: Iterable[str],
    *,
    seed: int = 0,
    steps: int | None = None,
    progress: Callable[[int, int, float], None] = lambda *_: None,
) -> tuple[Any, Any]:
    """A model and tokenizer trained on `texts`, the same for the same texts, seed and machine.

    preset: tiny (0.5M parameters), small (3M) or base (17M). steps: optimizer steps of pre-training, the preset's by
    default. progress is told the step, the number of steps and the loss in nats per token.

    >>> model, tokenizer = build("tiny", ["the quick brown fox"] * 4, steps=2)
    >>> tokenizer.decode(tokenizer("the fox")["input_ids"], skip_special_tokens=True)
    'the fox'
    """
    if preset not in PRESETS:
        raise OptionError(f"there is no lab:{preset}; there are {', '.join('lab:' + name for name in PRESETS)}")
    sizes = PRESETS[preset]
    corpus = [text for text in texts if text.strip()]
    if not corpus:
        raise OptionError(f"lab:{preset} learns from the texts at hand, and there are none")
    tokenizer = train_tokenizer(corpus, sizes.vocabulary)
    model = new_model(sizes, tokenizer, seed)
    _pretrain(model, tokenizer, corpus, sizes, steps or sizes.steps, seed, progress)
    return model, tokenizer


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer with BOS, EOS, padding and a chat template; every text can be encoded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = [BOS, EOS, PAD, *ROLES]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, bpe.token_to_id(BOS))])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=list(ROLES),
        chat_template="{{ bos_token }}" + CHAT_TEMPLATE,
    )


def new_model(sizes: Preset, tokenizer: Any, seed: int) -> Any:
    """An untrained Llama model of these sizes for this tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.hidden,
        intermediate_size=sizes.hidden * 8 // 3 // 16 * 16,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def _pretrain(
    model: Any,
    tokenizer: Any,
    corpus: list[str],
    sizes: Preset,
    steps: int,
    seed: int,
    progress: Callable[[int, int, float], None],
) -> None:
    ids = [token for row in tokenizer(corpus)["input_ids"] for token in (*row, tokenizer.eos_token_id)]
    # Windows start anywhere in one long stream; a stream shorter than a window is repeated.
    stream = torch.tensor(ids * (1 + (sizes.window + 1) // len(ids)))
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=sizes.learning_rate, weight_decay=0.1, betas=(0.9, 0.95))
    warmup = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min((i + 1) / warmup, 0.05 + 0.95 * (1 - i / steps))
    )
    model.train()
    for step in range(1, steps + 1):
        starts = torch.randint(0, len(stream) - sizes.window, (sizes.batch,), generator=draw)
        windows = torch.stack([stream[s : s + sizes.window + 1] for s in starts.tolist()])
        logits = model(input_ids=windows[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        progress(step, steps, float(loss.detach()))
    model.eval()

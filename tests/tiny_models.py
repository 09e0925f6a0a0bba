"""Small models of real families, and tokenizers trained on the spot."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from pluralign.lab.tiny import train_tokenizer
from pluralign.policy.load import without_dropout

TEXTS = [
    "Why is the sky blue? Because short waves scatter more than long ones.",
    "Write a short note to my friend. Dear friend, thank you for the lovely evening.",
    "2 + 2 = 4, and 4 + 4 = 8. The answer is eight.",
] * 5
FAMILIES = ("llama", "gpt2", "qwen2", "qwen3")
REFUSED = {
    "mamba": "keeps a state that runs through the line",
    "qwen3_next": "keeps a state that runs through the line",
    "gpt_oss": "its attention has sinks",
    "bloom": "its attention cannot be replaced",
}
"""Families that cannot share prompts, and what is said of them."""
CHATML = (
    "{% for m in messages %}{{ '<|begin|>' + m['role'] + '\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|begin|>assistant\n' }}{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|user|>' + m['role'] + '<|user|>\n\n' + m['content'] | trim + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|user|>assistant<|user|>\n\n' }}{% endif %}"
)
# Writes something after the generation prompt that a finished answer does not have: the prompt is no prefix.
THINKING = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>(thinks)' }}{% endif %}"
)
DOUBLED = "{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
TEMPLATES = {"chatml": CHATML, "headers": HEADERS, "thinking": THINKING}


@functools.cache
def tokenizer(template: str | None = None) -> Any:
    trained = train_tokenizer(TEXTS, 400)
    if template:
        trained.chat_template = template
    return trained


def tiny(family: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, vocabulary: int | None = None) -> Any:
    """Two layers, 32 wide, random weights, no dropout."""
    size = len(tokenizer()) if vocabulary is None else vocabulary
    common: dict[str, Any] = {
        "vocab_size": size,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    torch.manual_seed(seed)
    if family == "gpt2":
        config = GPT2Config(
            vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=0, eos_token_id=1
        )
        model: Any = GPT2LMHeadModel(config)
    elif family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**common))
    elif family == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**common))
    elif family == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**common, head_dim=8))
    elif family == "mistral":
        model = MistralForCausalLM(MistralConfig(**common, sliding_window=5))
    elif family == "gemma2":
        caps = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 8}
        config = Gemma2Config(**common, head_dim=8, sliding_window=5, attn_implementation="eager", **caps)
        model = Gemma2ForCausalLM(config)
    elif family == "gemma3":
        kinds = ["sliding_attention", "full_attention"]
        model = Gemma3ForCausalLM(Gemma3TextConfig(**common, head_dim=8, sliding_window=5, layer_types=kinds))
    elif family == "mamba":
        model = MambaForCausalLM(MambaConfig(vocab_size=size, hidden_size=32, num_hidden_layers=2, state_size=4))
    elif family == "bloom":
        model = BloomForCausalLM(BloomConfig(vocab_size=size, hidden_size=32, n_layer=2, n_head=4))
    elif family == "gpt_oss":
        experts = {"num_local_experts": 2, "num_experts_per_tok": 1}
        model = GptOssForCausalLM(GptOssConfig(**common, head_dim=8, sliding_window=5, **experts))
    elif family == "qwen3_next":
        linear = {"linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 8}
        experts = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
        config = Qwen3NextConfig(
            **common, head_dim=8, layer_types=["linear_attention", "full_attention"], linear_value_head_dim=8, **linear,
            shared_expert_intermediate_size=16, **experts,
        )  # fmt: skip
        model = Qwen3NextForCausalLM(config)
    else:
        raise ValueError(family)
    # Random weights of the usual scale give nearly uniform predictions, in which errors hide.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    without_dropout(model)
    return model.to(dtype).eval()


class InDouble(TorchFunctionMode):
    """Models ask for single precision inside norms and softmax whatever they are given; here double stays double."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], torch.Tensor) and args[0].dtype == torch.float64:
            if func is torch.Tensor.float:
                return args[0]
            args = tuple(torch.float64 if each is torch.float32 else each for each in args)
            kwargs = {k: torch.float64 if each is torch.float32 else each for k, each in kwargs.items()}
        return func(*args, **kwargs)

"""Prompts and responses as token ids: where a response begins, where it ends, and what a length limit takes away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pluralign.errors import BadRow, OptionError
from pluralign.feedback.record import Message

Truncation = Literal["keep_end", "keep_start", "drop"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt and K responses. `scored[k]` marks the tokens of response k that the model is held to."""

    prompt_ids: list[int]
    response_ids: tuple[list[int], ...]
    scored: tuple[list[bool], ...]

    @property
    def length(self) -> int:
        """Tokens of the prompt and all responses: what the row costs."""
        return len(self.prompt_ids) + sum(map(len, self.response_ids))


def joint(row: Encoded) -> Encoded:
    """The row with everything but its first token as the response: what scoring the prompt too means.

    >>> joint(Encoded([1, 2, 3], ([4, 9],), ([True, True],))).response_ids
    ([2, 3, 4, 9],)
    """
    whole = tuple(row.prompt_ids[1:] + ids for ids in row.response_ids)
    real = [any(keep) for keep in row.scored]
    scored = tuple([there] * len(ids) for ids, there in zip(whole, real, strict=True))
    return Encoded(row.prompt_ids[:1], whole, scored)


class Encoder:
    """Turns messages into token ids.

    The boundary between prompt and response is decided on tokens: the prompt is the longest common token prefix of
    the rendered prompt and of every rendered prompt + response. A token that spans the boundary (a merged space, a
    template whose prompt is no prefix) counts as response, on all sides alike.

    Every response ends with exactly one EOS; what a template writes after it is left away.

    max_length limits prompt + response, the same for all responses of a row. truncation: `keep_end` cuts the
    beginning of the prompt, then the ends of responses; `keep_start` only the ends of responses; `drop` refuses the
    row. `counts` says how often each thing happened.
    """

    def __init__(self, tokenizer: Any, *, max_length: int | None = None, truncation: Truncation = "keep_end") -> None:
        if truncation not in ("keep_end", "keep_start", "drop"):
            raise OptionError(f"truncation '{truncation}' is not one of keep_end, keep_start, drop")
        if max_length is not None and max_length < 2:
            raise OptionError(f"max_length {max_length} leaves no room for a prompt token and a response token")
        if tokenizer.eos_token_id is None:
            raise OptionError("the tokenizer has no EOS token, so no response could end; set tokenizer.eos_token")
        self.tokenizer, self.max_length, self.truncation = tokenizer, max_length, truncation
        self.counts: Counter[str] = Counter()

    def encode(self, prompt: Sequence[Message], responses: Sequence[Sequence[Message]], tools: Any = None) -> Encoded:
        """Token ids of one row. Raises `BadRow` where nothing sensible is left to learn from.

        A row is a chat if any message has a role; the tokenizer's template then renders it.
        """
        if any(m.role for m in (*prompt, *(m for r in responses for m in r))):
            prompt_ids, fulls, scored = self._chat(prompt, responses, tools)
        else:
            prompt_ids, fulls, scored = self._text(prompt, responses)
        shared = min((_common(prompt_ids, full) for full in fulls), default=len(prompt_ids))
        if shared < len(prompt_ids):
            self.counts["boundary-moved"] += 1
        start = prompt_ids[:shared] or [self._start()]
        ended = [self._ended(full[shared:], keep[shared:]) for full, keep in zip(fulls, scored, strict=True)]
        if any(not any(keep) for _, keep in ended):
            raise BadRow(
                "nothing-to-score",
                field="responses",
                problem="a response has no assistant turn",
                remedy="give each response at least one message of the assistant",
            )
        return self._limited(Encoded(start, tuple(ids for ids, _ in ended), tuple(keep for _, keep in ended)))

    def _text(
        self, prompt: Sequence[Message], responses: Sequence[Sequence[Message]]
    ) -> tuple[list[int], list[list[int]], list[list[bool]]]:
        head = "".join(m.content or "" for m in prompt)
        texts = [head, *(head + "".join(m.content or "" for m in response) for response in responses)]
        prompt_ids, *fulls = (self._single_start(self._without_end(ids)) for ids in self.tokenizer(texts)["input_ids"])
        return prompt_ids, fulls, [[True] * len(full) for full in fulls]

    def _chat(
        self, prompt: Sequence[Message], responses: Sequence[Sequence[Message]], tools: Any
    ) -> tuple[list[int], list[list[int]], list[list[bool]]]:
        if self.tokenizer.chat_template is None:
            raise OptionError(
                "these rows are chats and the tokenizer has no chat template; "
                "set tokenizer.chat_template or give plain texts"
            )
        head = [_plain_dict(m, "user") for m in prompt]
        fulls, scored = [], []
        for response in responses:
            turns = head + [_plain_dict(m, "assistant") for m in response]
            full = self._rendered(turns, tools)
            fulls.append(full)
            scored.append(self._assistant_tokens(turns, len(head), full, tools))
        return self._rendered(head, tools, generate=True), fulls, scored

    def _rendered(self, turns: list[dict[str, Any]], tools: Any, generate: bool = False) -> list[int]:
        if not turns:
            return []
        written = self.tokenizer.apply_chat_template(turns, tools=tools, tokenize=False, add_generation_prompt=generate)
        # The template writes the control tokens itself; a tokenizer that adds its own would double them.
        return self._single_start(self.tokenizer(written, add_special_tokens=False)["input_ids"])

    def _assistant_tokens(self, turns: list[dict[str, Any]], head: int, full: list[int], tools: Any) -> list[bool]:
        """Which tokens the assistant wrote, found by rendering the conversation turn by turn."""
        if len(turns) == head + 1:
            return [turns[head]["role"] == "assistant"] * len(full)
        keep = [False] * len(full)
        for i in range(head, len(turns)):
            if turns[i]["role"] == "assistant":
                begin = _common(self._rendered(turns[:i], tools, generate=True), full)
                end = _common(self._rendered(turns[: i + 1], tools), full) if i + 1 < len(turns) else len(full)
                keep[begin:end] = [True] * (end - begin)
        return keep

    def _single_start(self, ids: list[int]) -> list[int]:
        bos, start = self.tokenizer.bos_token_id, 0
        while bos is not None and ids[start : start + 2] == [bos, bos]:
            start += 1
        if start:
            self.counts["doubled-bos-removed"] += 1
        return ids[start:]

    def _without_end(self, ids: list[int]) -> list[int]:
        # Some tokenizers close every text with EOS, which would stand between prompt and response.
        return ids[:-1] if len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id else ids

    def _start(self) -> int:
        """The token before a response that has no prompt."""
        bos = self.tokenizer.bos_token_id
        return int(self.tokenizer.eos_token_id if bos is None else bos)

    def _ended(self, ids: list[int], keep: list[bool]) -> tuple[list[int], list[bool]]:
        eos = self.tokenizer.eos_token_id
        end = len(ids)
        while end and ids[end - 1] != eos and not self.tokenizer.decode([ids[end - 1]]).strip():
            end -= 1
        if end and ids[end - 1] == eos:
            while end > 1 and ids[end - 2] == eos:
                end -= 1
            return ids[:end], keep[:end]
        return [*ids, eos], [*keep, keep[-1] if keep else True]

    def _limited(self, row: Encoded) -> Encoded:
        prompt, responses, scored = row.prompt_ids, row.response_ids, row.scored
        excess = 0 if self.max_length is None else len(prompt) + max(map(len, responses)) - self.max_length
        if self.max_length is None or excess <= 0:
            return self._distinct(row)
        if self.truncation == "drop":
            raise BadRow(
                "over-max-length",
                field="responses",
                problem=f"prompt and response take {excess + self.max_length} tokens, more than {self.max_length}",
                remedy="raise max_length or choose a truncation that cuts",
            )
        if self.truncation == "keep_end":
            first = prompt[:1] if prompt[0] == self.tokenizer.bos_token_id else []
            left = max(len(prompt) - excess, len(first) + 1)
            if left < len(prompt):
                self.counts["prompt-cut"] += 1
                prompt = first + prompt[len(prompt) - (left - len(first)) :]
        room = self.max_length - len(prompt)
        if room < 1:
            raise BadRow(
                "response-truncated-away",
                field="prompt",
                problem=f"the prompt alone takes {len(prompt)} tokens of {self.max_length}",
                remedy="raise max_length or use truncation keep_end",
            )
        cut = sum(len(ids) > room for ids in responses)
        self.counts["response-cut"] += cut
        shorter = Encoded(prompt, tuple(ids[:room] for ids in responses), tuple(keep[:room] for keep in scored))
        if any(not any(keep) for keep in shorter.scored):
            raise BadRow(
                "response-truncated-away",
                field="responses",
                problem="nothing of a response's assistant turns is left within max_length",
                remedy="raise max_length",
            )
        return self._distinct(shorter)

    def _distinct(self, row: Encoded) -> Encoded:
        if len(row.response_ids) == 2 and row.response_ids[0] == row.response_ids[1]:
            raise BadRow(
                "equal-responses",
                field="responses",
                problem="both responses are the same tokens, as they are or after the length limit",
                remedy="raise max_length or remove the row",
            )
        return row


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    shared = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        shared += 1
    return shared


def common_beginning(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all sequences begin with.

    >>> common_beginning([[1, 2, 3], [1, 2], [1, 2, 4]])
    2
    """
    return min(_common(sequences[0], other) for other in sequences)


def _plain_dict(m: Message, role: str) -> dict[str, Any]:
    """A message as templates take it; plain text among chat turns gets the role of its place."""
    return {"role": m.role or role, "content": m.content or "", **(m.extra or {})}

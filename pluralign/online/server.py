"""A server with OpenAI's interface (vLLM, `transformers serve`) as a sampler: plain HTTP, patient and distrustful."""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from pluralign.errors import OptionError, PluralignError, one_line
from pluralign.online.drawn import Drawn, Law, Prompt, Sample, hashed, words

STOPS = {"stop": "eos", "length": "length"}


class ServerError(PluralignError):
    """A server gave no usable answer, however often it was asked."""


class Client:
    """POST to a server until it answers with JSON.

    url: of the server, with its version: `http://127.0.0.1:8000/v1`. timeout: seconds for one request. attempts: how
    often a request is made. wait: seconds before the second attempt, doubled for each further one; a server that says
    when to come again (Retry-After, in seconds or as a date) is obeyed up to `longest`. key: name of the environment
    variable that holds the key, where the server wants one.

    Too many requests, errors of the server's own, lost connections, timeouts and replies that are no JSON are tried
    again. What the server refuses is an `OptionError` at once; in the end it is a `ServerError`.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 120.0,
        attempts: int = 5,
        wait: float = 1.0,
        longest: float = 120.0,
        key: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError(f"{url!r} is no address of a server; write it as http://HOST:PORT/v1")
        if key is not None and key not in os.environ:
            raise OptionError(f"the environment variable {key}, which is to hold the server's key, is not set")
        self.url, self.timeout, self.attempts, self.wait, self.longest = (
            url.rstrip("/"),
            timeout,
            attempts,
            wait,
            longest,
        )
        self._headers = {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {os.environ[key]}"
        self._sleep = sleep
        # A proxy does not reach this machine.
        here = parts.hostname in ("localhost", "127.0.0.1", "::1")
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if here else []))

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[Any], Any]) -> Any:
        """What `read` makes of the reply; on rubbish it raises `ValueError`, `TypeError` or `LookupError`."""
        why = ""
        for attempt in range(1, self.attempts + 1):
            after: float | None = None
            try:
                return read(json.loads(self._send(path, body)))
            except urllib.error.HTTPError as error:
                said = one_line(error.read(2000).decode(errors="replace"))
                why = f"status {error.code}: {said}"
                if error.code != 429 and error.code < 500 and error.code != 408:
                    raise OptionError(f"the server at {self.url} refuses the request: {why}") from None
                after = _seconds(error.headers.get("Retry-After"))
            except (OSError, http.client.HTTPException) as error:
                why = one_line(error) or type(error).__name__
            except (ValueError, TypeError, LookupError) as error:
                why = f"a reply that says nothing ({one_line(error)})"
            if attempt < self.attempts:
                self._sleep(min(self.wait * 2 ** (attempt - 1) if after is None else after, self.longest))
        raise ServerError(
            f"the server at {self.url} gave no usable answer in {self.attempts} attempts, the last time {why}; see "
            "that it runs and start again, what was drawn is kept"
        )

    def _send(self, path: str, body: Mapping[str, Any]) -> bytes:
        request = urllib.request.Request(f"{self.url}/{path}", json.dumps(body).encode(), self._headers)
        with self._opener.open(request, timeout=self.timeout) as reply:
            found: bytes = reply.read()
            return found


class ServerSampler:
    """Independent draws of a model that a server holds.

    model: its name there. count: responses a prompt, each a request of its own with its own seed, `workers` at a time.
    settings: `max_new_tokens`, and `temperature`, `top_p`. tokenizer: that of the model, for the token ids of prompts
    and responses; without it there are none unless the server tells them (`token_ids`). Ids made from a text may be
    others than those drawn; `meta` then says `retokenised`.

    kind: what the server is, for each bends the law in its own way unless told not to: "transformers" (`transformers
    serve`) takes the most probable token whatever the temperature if the model's own settings do not sample, and "vllm"
    applies the top-k and penalties of the model's settings. "openai": only what every server understands is sent, and
    that it adds nothing of its own is yours to see.

    A chat goes to `chat/completions`, a plain text to `completions`. Log-probs are kept where the law is not bent
    (servers tell those of the model itself) and there is one for each token.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        count: int,
        settings: Mapping[str, Any],
        *,
        tokenizer: Any = None,
        workers: int = 8,
        kind: Literal["openai", "vllm", "transformers"] = "openai",
    ) -> None:
        if kind not in ("openai", "vllm", "transformers"):
            raise OptionError(f"a server is openai, vllm or transformers, not {kind!r}")
        self.kind = kind
        self.client, self.model, self.settings, self.workers = client, model, dict(settings), workers
        bent = {name: self.settings[name] for name in ("temperature", "top_p") if name in self.settings}
        if strange := set(self.settings) - {"max_new_tokens", "temperature", "top_p"}:
            raise OptionError(f"a server is not asked for {', '.join(sorted(strange))}")
        self.laws = (Law.of(model, **bent),) * count
        self.tokenizer = tokenizer

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[tuple[int, Drawn]]:
        """(place of the prompt, what the server drew), in order. Raises `ServerError` and `OptionError`."""
        with ThreadPoolExecutor(self.workers) as pool:
            asked = [
                [pool.submit(self._one, prompt, seed, k) for k in range(len(self.laws))]
                for prompt, seed in zip(prompts, seeds, strict=True)
            ]
            try:
                for place, own in enumerate(asked):
                    samples = tuple(future.result() for future in own)
                    yield place, Drawn(prompts[place], self._prompt_ids(prompts[place]), samples)
            finally:
                # One that failed for good fails the round: nothing more is to be paid for.
                for own in asked:
                    for future in own:
                        future.cancel()

    def _one(self, prompt: Prompt, seed: int, k: int) -> Sample:
        chat = any(m.role for m in prompt)
        own = hashed(seed, k)
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self.settings["max_new_tokens"],
            "temperature": self.laws[k].temperature,
            "top_p": self.laws[k].top_p,
            # Servers take 32 bits.
            "seed": own % 2**31,
            "logprobs": True if chat else 0,
            **self._plainly(),
        }
        if chat:
            turns = [{"role": m.role or "user", "content": m.content or "", **(m.extra or {})} for m in prompt]
            said = self.client.post("chat/completions", body | {"messages": turns}, _chat)
        else:
            said = self.client.post("completions", body | {"prompt": words(prompt)}, _text)
        return self._sample(said, seed, self.laws[k])

    def _plainly(self) -> dict[str, Any]:
        """What keeps a server from bending the law by settings that came with the model."""
        if self.kind == "vllm":
            return {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "return_token_ids": True}
        if self.kind == "openai":
            return {}
        own: dict[str, Any] = {"do_sample": self.laws[0].temperature > 0, "top_k": 0, "repetition_penalty": 1.0}
        own["max_new_tokens"] = self.settings["max_new_tokens"]
        if self.tokenizer is not None:
            own |= {"eos_token_id": self.tokenizer.eos_token_id, "pad_token_id": self.tokenizer.pad_token_id}
        return {"generation_config": json.dumps(own)}

    def _sample(self, said: tuple[str, str, Any, Any], seed: int, law: Law) -> Sample:
        text, stop, ids, logp = said
        meta = {}
        if ids is None and self.tokenizer is not None:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            ids = [*ids, self.tokenizer.eos_token_id] if stop == "eos" else ids
            meta = {"retokenised": True}
        tokens = tuple(ids or ())
        fits = logp is not None and law.plain and len(logp) == len(tokens)
        return Sample(text, tokens, tuple(logp) if fits else None, stop, seed, law, meta=meta)

    def _prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        if self.tokenizer is None:
            return ()
        from pluralign.policy.encode import Encoder

        return tuple(Encoder(self.tokenizer).encode(prompt, []).prompt_ids)


def _chat(reply: Any) -> tuple[str, str, Any, Any]:
    choice = reply["choices"][0]
    told = (choice.get("logprobs") or {}).get("content")
    return _checked(choice["message"]["content"], choice, [each["logprob"] for each in told] if told else None)


def _text(reply: Any) -> tuple[str, str, Any, Any]:
    choice = reply["choices"][0]
    return _checked(choice["text"], choice, (choice.get("logprobs") or {}).get("token_logprobs"))


def _checked(text: Any, choice: Any, logp: Any) -> tuple[str, str, Any, Any]:
    stop, ids = choice["finish_reason"], choice.get("token_ids")
    if not isinstance(text, str):
        raise TypeError("the text is none")
    if ids is not None and not all(isinstance(i, int) for i in ids):
        raise TypeError("token ids are no numbers")
    if logp is not None and not all(isinstance(v, int | float) for v in logp):
        raise TypeError("log-probs are no numbers")
    return text, STOPS.get(stop, "stop"), ids, logp


def _seconds(said: str | None) -> float | None:
    """Seconds until the time that a Retry-After names.

    >>> _seconds("3"), _seconds("soon"), _seconds("Wed, 21 Oct 2015 07:28:00 GMT")
    (3.0, None, 0.0)
    """
    if said is None:
        return None
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (TypeError, ValueError):
        return None

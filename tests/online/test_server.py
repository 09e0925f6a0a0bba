"""A real server on the loopback address: a tiny model behind OpenAI's interface, and one that misbehaves."""

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from pluralign.errors import OptionError
from pluralign.feedback.record import Message, text
from pluralign.online.drawn import collect, hashed, seeds_of
from pluralign.online.server import Client, ServerError, ServerSampler, _seconds
from pluralign.policy.generate import Writer, generate
from tests.tiny_models import CHATML, tiny, tokenizer

WORDS = [text("Why is the sky blue?"), text("2 + 2")]
SETTINGS = {"max_new_tokens": 5, "temperature": 1.0}


class Server(ThreadingHTTPServer):
    """Answers with the model; before that, with what stands in `script`: (status, headers, body) or "hang up"."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.model, self.words, self.script, self.asked = tiny("llama").double(), tokenizer(CHATML), [], []
        self.ids, self.lock = True, threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def complete(self, path, body):
        if path.endswith("chat/completions"):
            written = self.words.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
            prompt = self.words(written, add_special_tokens=False)["input_ids"]
        else:
            prompt = self.words(body["prompt"])["input_ids"]
        with self.lock:
            drawn = dict(
                generate(
                    [Writer(self.model)], [prompt], [[body["seed"]]], eos=self.words.eos_token_id,
                    max_new_tokens=body["max_tokens"], temperature=body["temperature"], top_p=body["top_p"],
                )
            )[0][0]  # fmt: skip
        choice = {"finish_reason": "stop" if drawn.stop == "eos" else "length", "index": 0}
        choice |= {"token_ids": drawn.tokens} if self.ids else {}
        said = self.words.decode(drawn.tokens, skip_special_tokens=True)
        if path.endswith("chat/completions"):
            told = [{"token": str(t), "logprob": v} for t, v in zip(drawn.tokens, drawn.logp, strict=True)]
            return choice | {"message": {"role": "assistant", "content": said}, "logprobs": {"content": told}}
        return choice | {"text": said, "logprobs": {"token_logprobs": drawn.logp}}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append((self.path, body, self.headers.get("Authorization")))
            scripted = self.server.script.pop(0) if self.server.script else None
        if scripted == "hang up":
            return
        if scripted == "sleep":
            threading.Event().wait(1.5)
        status, headers, said = scripted if isinstance(scripted, tuple) else (200, {}, None)
        if said is None:
            said = json.dumps({"choices": [self.server.complete(self.path, body)]})
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.encode())
        except (BrokenPipeError, ConnectionResetError):
            pass

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def running():
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(running):
    running.script, running.asked, running.ids = [], [], True
    return running


def sampler(server, count=2, settings=SETTINGS, words=True, **options):
    waits = []
    client = Client(server.url, sleep=waits.append, **{"timeout": 30, **options})
    made = ServerSampler(client, "tiny", count, settings, tokenizer=tokenizer(CHATML) if words else None)
    return made, waits


def test_a_servers_samples_are_those_of_the_model_it_holds(server):
    for prompts in (WORDS, [(Message("Why?", role="user"),), (Message("How?", role="user"),)]):
        made, _ = sampler(server)
        drawn = collect(made, prompts, seed=1)
        for d, seed in zip(drawn, seeds_of(prompts, 1), strict=True):
            for k, s in enumerate(d.samples):
                own = dict(
                    generate([Writer(server.model)], [list(d.prompt_ids)], [[hashed(seed, k) % 2**31]],
                             eos=server.words.eos_token_id, max_new_tokens=5)
                )[0][0]  # fmt: skip
                assert (list(s.tokens), s.stop) == (own.tokens, own.stop)
                assert s.logp == pytest.approx(own.logp)
                assert (str(s.law), s.meta) == ("tiny", {})
        assert collect(made, prompts, seed=1) == drawn


def test_bent_laws_keep_no_log_probs_and_texts_are_retokenised_where_ids_are_not_told(server):
    made, _ = sampler(server, settings=SETTINGS | {"temperature": 0.5, "top_p": 0.9})
    sample = collect(made, WORDS[:1], seed=1)[0].samples[0]
    assert sample.logp is None
    assert str(sample.law) == "tiny, temperature 0.5, top_p 0.9"
    assert server.asked[0][1]["top_p"] == 0.9
    server.ids = False
    sample = collect(sampler(server)[0], WORDS[:1], seed=1)[0].samples[0]
    assert sample.meta == {"retokenised": True}
    assert sample.text == tokenizer().decode(sample.tokens, skip_special_tokens=True)
    bare = collect(sampler(server, words=False)[0], WORDS[:1], seed=1)[0]
    assert (bare.prompt_ids, bare.samples[0].tokens, bare.samples[0].logp) == ((), (), None)
    with pytest.raises(OptionError, match="not asked for top_k"):
        sampler(server, settings=SETTINGS | {"top_k": 5})


def test_servers_are_told_not_to_bend_the_law(server):
    client = Client(server.url)
    for kind, key in (("openai", None), ("vllm", "repetition_penalty"), ("transformers", "generation_config")):
        server.asked = []
        collect(ServerSampler(client, "tiny", 1, SETTINGS, tokenizer=tokenizer(), kind=kind), WORDS[:1], seed=1)
        body = server.asked[0][1]
        assert {k for k in ("repetition_penalty", "generation_config") if k in body} == ({key} if key else set())
    own = json.loads(body["generation_config"])
    assert (own["do_sample"], own["top_k"], own["eos_token_id"]) == (True, 0, tokenizer().eos_token_id)
    with pytest.raises(OptionError, match="not 'other'"):
        ServerSampler(client, "tiny", 1, SETTINGS, kind="other")


@pytest.mark.slow
def test_transformers_serve_samples_at_the_temperature_asked_for(tmp_path):
    """The real server, where its packages are installed: single tokens come as often as the model says."""
    pytest.importorskip("fastapi", reason="transformers serve needs transformers[serving]")
    pytest.importorskip("uvicorn", reason="transformers serve needs transformers[serving]")
    model, words = tiny("llama"), tokenizer(CHATML)
    model.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve", str(tmp_path)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = Client(f"http://127.0.0.1:{port}/v1", attempts=60, longest=2.0)
        made = ServerSampler(
            client, str(tmp_path), 60, SETTINGS | {"max_new_tokens": 1}, tokenizer=words, workers=1, kind="transformers"
        )
        drawn = collect(made, WORDS[:1], seed=1)[0]
    finally:
        process.terminate()
        process.wait()
    ids = torch.tensor([drawn.prompt_ids])
    with torch.no_grad():
        law = model(ids).logits[0, -1].softmax(-1)
    likely = words.decode([int(law.argmax())])
    share = sum(s.text == likely for s in drawn.samples) / 60
    expected = float(law.max())
    assert len({s.text for s in drawn.samples}) > 1
    assert abs(share - expected) <= 4 * (expected * (1 - expected) / 60) ** 0.5


TOO_MANY = (429, {"Retry-After": "7"}, '{"error": "slow down"}')


@pytest.mark.parametrize(
    ("script", "waited"),
    [
        ([TOO_MANY], [7.0]),
        ([TOO_MANY, (429, {"Retry-After": "9999"}, "")], [7.0, 120.0]),
        ([(429, {}, "")] * 3, [1.0, 2.0, 4.0]),
        ([(500, {}, "broken"), (503, {}, "")], [1.0, 2.0]),
        (["hang up"], [1.0]),
        ([(200, {}, "<html>")], [1.0]),
        ([(200, {}, "{}")], [1.0]),
        ([(200, {}, '{"choices": []}')], [1.0]),
        ([(200, {}, '{"choices": [{"text": null, "finish_reason": "stop"}]}')], [1.0]),
        ([(200, {}, '{"choices": [{"text": "a", "finish_reason": "stop", "token_ids": ["x"]}]}')], [1.0]),
        ([(200, {}, "[]")], [1.0]),
        ([(200, {"Content-Length": "100"}, "{")], [1.0]),
    ],
    ids=str,
)
def test_what_goes_wrong_is_tried_again(server, script, waited):
    plain = collect(sampler(server, 1)[0], WORDS[:1], seed=1)
    server.script = list(script)
    made, waits = sampler(server, 1)
    assert collect(made, WORDS[:1], seed=1) == plain
    assert waits == waited


def test_a_server_that_is_too_slow_is_asked_again(server):
    server.script = ["sleep"]
    made, waits = sampler(server, 1, timeout=0.5, attempts=8)
    assert collect(made, WORDS[:1], seed=1)[0].samples
    assert waits[0] == 1.0


def test_in_the_end_it_is_said_and_what_was_drawn_is_kept(server, tmp_path):
    made, _ = sampler(server, 1, attempts=2)
    made.workers = 1
    collect(made, WORDS[:1], seed=1, path=tmp_path / "s.jsonl")
    server.script = [(500, {}, "it broke")] * 2
    with pytest.raises(ServerError, match="in 2 attempts, the last time status 500: it broke; see that"):
        collect(made, WORDS, seed=1, path=tmp_path / "s.jsonl")
    before = len(server.asked)
    assert len(collect(made, WORDS, seed=1, path=tmp_path / "s.jsonl")) == 2
    assert len(server.asked) == before + 1


def test_a_refusal_is_not_tried_again(server):
    server.script = [(404, {}, '{"error": "no such model"}')]
    made, waits = sampler(server, 1)
    with pytest.raises(OptionError, match=r"refuses the request: status 404: .*no such model"):
        collect(made, WORDS[:1], seed=1)
    assert waits == []


def test_no_server_at_all_is_said():
    with pytest.raises(ServerError, match="refused"):
        Client("http://127.0.0.1:9/v1", attempts=2, sleep=lambda _: None).post("completions", {}, dict)
    for wrong in ("127.0.0.1:8000", "file:///etc/passwd", "http://"):
        with pytest.raises(OptionError, match="no address of a server"):
            Client(wrong)


def test_the_key_comes_from_the_environment_and_nowhere_else(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    collect(sampler(server, 1, key="MY_KEY")[0], WORDS[:1], seed=1)
    collect(sampler(server, 1)[0], WORDS[:1], seed=1)
    assert [key for _, _, key in server.asked] == ["Bearer secret", None]
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(OptionError, match="MY_KEY"):
        Client(server.url, key="MY_KEY")


def test_dates_are_read_too():
    assert _seconds("Fri, 01 Jan 2100 00:00:00 GMT") > 1e9

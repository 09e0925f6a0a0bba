"""Judges that check: exact answers, and programs that must pass tests in a process of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pluralign.errors import OptionError
from pluralign.online.drawn import words
from pluralign.online.judges import Array, Asked, Unanswered

NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
FENCED = re.compile(r"```(?:python|py)?\s*\n(.*?)```", re.DOTALL)


def last_number(response: str) -> str | None:
    """The last number that a text writes, without commas and needless zeros; None where it writes none.

    >>> last_number("12 + 30 makes 1,042.50."), last_number("I do not know")
    ('1042.5', None)
    """
    found = NUMBER.findall(response)
    if not found:
        return None
    plain = found[-1].replace(",", "")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return re.sub(r"^(-?)0+(?=\d)", r"\1", plain)


def fenced(response: str) -> str:
    """The last fenced block of code in a response, or all of it where there is none.

    >>> fenced("So:\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1\\n'
    """
    found = FENCED.findall(response)
    return str(found[-1]) if found else response


class _Checked:
    """Rewards of 1 and 0; of two that both pass or both fail neither is preferred."""

    name: str

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        raise NotImplementedError

    def prob(self, prompts: Asked, first: Sequence[str], second: Sequence[str]) -> Array:
        """1 where first alone passes, 0 where second alone does, else 1/2: [n]."""
        both = self.reward([*prompts, *prompts], [*first, *second])
        return np.asarray((1 + both[: len(prompts)] - both[len(prompts) :]) / 2)


class ExactAnswer(_Checked):
    """1 for the right answer, 0 for any other.

    answer: prompt -> what is right. found: response -> what it answers, or None; its last number by default. What is
    right is read by `found` too, so that 7 and 7.0 are one.

    >>> judge = ExactAnswer(lambda prompt: "42", name="sums")
    >>> judge.reward(["?", "?"], ["It is 42.", "It is 24."]).tolist()
    [1.0, 0.0]
    """

    def __init__(
        self, answer: Callable[[str], str], *, name: str, found: Callable[[str], str | None] = last_number
    ) -> None:
        self.answer, self.found, self.name = answer, found, f"exact answer, {name}"

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """1 or 0, [n]. Raises `OptionError` where the right answer cannot be read."""
        values = []
        for x, y in zip(prompts, responses, strict=True):
            right = self.found(str(self.answer(words(x))))
            if right is None:
                raise OptionError(f"the right answer to {words(x)[:60]!r} cannot be read by the rule for responses")
            values.append(float(self.found(y) == right))
        return np.array(values)


@dataclass(frozen=True)
class Verdict:
    """Whether a program passed, and why not: "failed" (with the error), "time", "memory" or "ended early"."""

    passed: bool
    why: str = ""
    said: str = ""


class UnitTests(_Checked):
    """1 for a program that passes its tests, 0 for one that fails, runs too long, or takes too much memory.

    tests: prompt -> Python that runs after the program, in its names, and raises where something is wrong. seconds: of
    processor time, and twice that by the clock. megabytes: of memory. code: response -> program. workers: programs run
    at a time. What is not run to the end has not passed: nothing is won by leaving early. See `sandboxed`.

    >>> judge = UnitTests(lambda prompt: "assert double(4) == 8", name="double")
    >>> judge.reward(["?"], ["def double(x): return 2 * x"]).tolist()
    [1.0]
    """

    def __init__(
        self,
        tests: Callable[[str], str],
        *,
        name: str,
        seconds: float = 5.0,
        megabytes: int = 512,
        code: Callable[[str], str] = fenced,
        workers: int = 2,
    ) -> None:
        self.tests, self.code, self.workers = tests, code, workers
        self.seconds, self.megabytes = seconds, megabytes
        self.name = f"unit tests, {name}, {seconds:g} s, {megabytes} MB"

    def reward(self, prompts: Asked, responses: Sequence[str]) -> Array:
        """1 or 0, [n]."""
        return np.array([float(v.passed) for v in self.verdicts(prompts, responses)])

    def verdicts(self, prompts: Asked, responses: Sequence[str]) -> list[Verdict]:
        """What became of each program."""

        def run(pair: tuple[str, str]) -> Verdict:
            tests, program = pair
            return sandboxed(program, tests, seconds=self.seconds, megabytes=self.megabytes)

        pairs = [(self.tests(words(x)), self.code(y)) for x, y in zip(prompts, responses, strict=True)]
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(run, pairs))


# Runs in the child. Limits first; then no network: a namespace without one where the system lets us, and in any case
# no sockets, no processes and no files outside its folder by Python's own means.
_CHILD = r"""
import ctypes, json, os, resource, sys
order = json.loads(sys.stdin.read())
try:
    ctypes.CDLL(None).unshare(0x10000000 | 0x40000000)
except Exception:
    pass
for kind, most in order["limits"].items():
    resource.setrlimit(getattr(resource, kind), (most, most))
home = os.path.realpath(os.getcwd())
def guard(event, given):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.kill",
                         "ctypes.", "os.putenv", "os.remove", "os.rename", "os.rmdir", "os.chmod", "shutil.")):
        raise PermissionError(event + " is not allowed here")
    if event == "open" and isinstance(given[1], str) and set(given[1]) & set("wax+"):
        if not os.path.realpath(str(given[0])).startswith(home + os.sep):
            raise PermissionError("writing outside the folder is not allowed here")
done = order.pop("done")
def run(program, tests, write=os.write, finish=os._exit):
    names = {"__name__": "__main__"}
    sys.addaudithook(guard)
    try:
        exec(compile(program, "response", "exec"), names)
        exec(compile(tests, "tests", "exec"), names)
    except MemoryError:
        write(3, b"memory"), finish(0)
    except BaseException as error:
        write(3, ("failed " + type(error).__name__ + ": " + str(error)[:200]).encode()), finish(0)
    write(3, done.encode()), finish(0)
run(order["program"], order["tests"])
"""


def sandboxed(program: str, tests: str, *, seconds: float = 5.0, megabytes: int = 512) -> Verdict:
    """Run a program and then its tests in a process with limits of processor time, clock, memory and file size.

    It starts in an empty folder that is deleted afterwards, with no input, no environment, and no network; Python's own
    ways to other processes and files are refused. That holds back what a model writes by accident or to win; against an
    attacker who knows it, run the whole judge in a container. Raises `Unanswered` where no process can be started.
    """
    done = secrets.token_hex(16)
    limits = {
        "RLIMIT_CPU": max(1, int(np.ceil(seconds))),
        "RLIMIT_AS": megabytes << 20,
        "RLIMIT_FSIZE": 1 << 20,
        "RLIMIT_NOFILE": 32,
        "RLIMIT_CORE": 0,
    }
    order = json.dumps({"limits": limits, "program": program, "tests": tests, "done": done}).encode()
    with tempfile.TemporaryDirectory(prefix="pluralign-") as folder, tempfile.TemporaryFile() as said:
        reader, writer = os.pipe()
        try:
            child = subprocess.Popen(
                [sys.executable, "-I", "-c", f"import os\nos.dup2({writer}, 3)\n{_CHILD}"],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={},
                pass_fds=(writer,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(reader)
            raise Unanswered(f"no process for the tests could be started: {error}") from None
        finally:
            os.close(writer)
        with os.fdopen(reader, "rb") as result:
            late = False
            try:
                child.communicate(order, timeout=2 * seconds + 5)
            except subprocess.TimeoutExpired:
                late = True
            finally:
                # Whatever the program left behind goes with it.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            told = result.read(4096).decode(errors="replace")
    if late or child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return Verdict(False, "time")
    if told == done:
        return Verdict(True)
    if told == "memory" or "MemoryError" in told:
        return Verdict(False, "memory")
    return Verdict(False, "failed", told[7:]) if told.startswith("failed ") else Verdict(False, "ended early")

"""`import pluralign` and its help page stay light."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "matplotlib", "datasets", "pandas")


@pytest.mark.parametrize(
    "code",
    [
        "import pluralign",
        "import pluralign.cli",
        "import sys; sys.argv = ['pluralign', '--help']\n"
        "from pluralign.cli import main\ntry: main()\nexcept SystemExit: pass",
    ],
    ids=["import", "cli", "help"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    probe = f"{code}\nimport sys\nprint('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "HEAVY []" in out.stdout, out.stdout + out.stderr

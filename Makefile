# A fresh machine needs Python 3.11 or newer, and make. Every target may be run again.
#   make run              set everything up, install the sample extension, serve
#   make test ARGS=...    the tests that need only Python; ARGS goes to pytest
#   make check            everything a change must pass
#   make fmt              format, and write generated documentation anew
#   make bench ARGS=...   measure

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ONLY_PYTHON := not docker and not knative and not browser and not node and not soak

.DEFAULT_GOAL := setup
.PHONY: setup fmt check test run bench

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "This needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "This Python cannot make virtual environments: install its venv package (python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	@touch $@

fmt: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m scripts.settings_table

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p scripts
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin -p gateway -p middleware -p backends
	$(BIN)/lint-imports
	$(BIN)/pytest -m "$(ONLY_PYTHON)"

test: setup
	@$(BIN)/pytest -m "$(ONLY_PYTHON)" $(ARGS)

run: setup
	@$(BIN)/python -m gateway bundle install examples/hello
	@exec $(BIN)/python -m gateway $(ARGS)

bench: setup
	@$(BIN)/python -m benchmarks $(ARGS)

# Two commands on a fresh machine: `make demo` and `make test`. Both set up all they need in .venv.
.PHONY: demo test test-slow check format lock bench dev clean
SHELL := /bin/sh

# The first Python on the PATH that really runs and is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

demo: .venv/.runtime
	$(BIN)/offsitedb demo

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: .venv/.dev
	$(BIN)/python -m pytest -m slow -n 3 --dist loadfile --no-loadscope-reorder

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.dev
	$(BIN)/python -m bench
	$(BIN)/python -m bench.schedules

lock: .venv/.dev
	$(PIP) install -q uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --generate-hashes --group build --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --generate-hashes --group build --group dev --all-extras --no-header pyproject.toml -o requirements-dev.lock

dev: .venv/.dev

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found on the PATH." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "This Python has no venv module: install it (Debian: apt install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.runtime: requirements.lock pyproject.toml | .venv/bin/python
	@echo "Setting up .venv from requirements.lock …" >&2
	@$(PIP) install -q --require-hashes -r requirements.lock
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements-dev.lock pyproject.toml | .venv/bin/python
	@echo "Setting up .venv from requirements-dev.lock …" >&2
	@$(PIP) install -q --require-hashes -r requirements-dev.lock
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@ .venv/.runtime

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Modules that only decide (no I/O, no clock): every branch of each must be tested.
DECISIONS := $(shell cat tests/decisions.txt | grep -v '^\#' | paste -sd, -)

.PHONY: help demo test check types docs bench lock clean

help: ## Show this list
	@echo 'symphonia-perf: every target sets itself up in $(VENV) on its first run.'
	@echo
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: $(READY) ## Measure the orders service before and after, on real servers (2 minutes)
	@$(BIN)/python -m examples.orders.demo

# What only computes runs beside what talks to servers, on the second core: 12 minutes become 7.
COMPUTING := tests/unit tests/properties tests/packaging

test: $(READY) ## Run every test, with branch coverage
	@rm -rf .coverage && mkdir .coverage
	@$(BIN)/coverage run -m pytest $(COMPUTING) >.coverage/computing.txt 2>&1 & computing=$$!; \
		trap 'kill $$computing 2>/dev/null || true' EXIT; failed=0; \
		$(BIN)/coverage run -m pytest $(addprefix --ignore=,$(COMPUTING)) || failed=$$?; \
		wait $$computing || failed=$$?; \
		echo 'Beside it: pytest $(COMPUTING)'; cat .coverage/computing.txt; \
		exit $$failed
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --fail-under=95
	@echo 'Decision modules, where every branch counts:'
	@$(BIN)/coverage report --include='$(DECISIONS)' --fail-under=100

check: $(READY) types docs ## Lint, types, layer contracts and docs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(READY) ## Type-check the library, the typing tests and the examples
	@$(BIN)/mypy
	@$(BIN)/basedpyright

docs: $(READY) ## Build the documentation site into site/, strictly and without network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(READY) ## Run the benchmarks, one at a time, JSON lines to stdout
	@for script in benchmarks/*/bench_*.py; do $(BIN)/python "$$script"; done

lock: ## Renew the pins in constraints/ (needs uv)
	@command -v $(UV) >/dev/null || { echo 'make lock needs uv: pip install uv' >&2; exit 2; }
	@$(UV) pip compile --quiet --universal --no-header --no-annotate --no-emit-index-url --upgrade \
		--python-version 3.11 --all-extras --group dev pyproject.toml -o constraints/dev.txt

clean: ## Remove what the other targets made
	@rm -rf $(VENV) site .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# The pins are complete, so pip resolves nothing: --no-deps makes it install exactly them.
$(READY): constraints/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ...' >&2; exit 2; }
	@echo 'Setting up $(VENV) from constraints/dev.txt (once, about a minute) ...'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --no-deps -r constraints/dev.txt
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --no-deps --no-build-isolation -e .
	@touch $@

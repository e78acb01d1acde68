# Every command of the project. `make help` lists them.
SHELL := /bin/sh
PYTHON := .venv/bin/python
PORT ?= 8080
DEMO ?= 1
FRESH ?= 0
VERBOSE ?= 0
export PYTHONDONTWRITEBYTECODE ?=

.DEFAULT_GOAL := help

.venv/.ready: requirements/dev.lock pyproject.toml local/bootstrap
	@local/bootstrap

.PHONY: run
run: .venv/.ready ## Start everything on this machine: PORT=8080 DEMO=0 FRESH=1 VERBOSE=1
	@$(PYTHON) -m local --port $(PORT) --demo $(DEMO) --fresh $(FRESH) --verbose $(VERBOSE)

.PHONY: test
test: .venv/.ready ## Run every test (ARGS="-k name" picks some)
	@$(PYTHON) -m pytest $(ARGS)

.PHONY: check
check: .venv/.ready ## Lint, types, template, import rules
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -m pytest tests/template tests/rules -q

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z_-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

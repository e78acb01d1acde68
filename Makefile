# Every command of the project. `make help` lists them.
SHELL := /bin/sh
PYTHON := .venv/bin/python
UV = $(shell for each in uv .local/uv/bin/uv; do "$$each" --version >/dev/null 2>&1 && { echo "$$each"; break; }; done)
SAM := aws-sam-cli==1.170.0
CHECKOV := 3.3.30
PORT ?= 8080
DEMO ?= 1
FRESH ?= 0
VERBOSE ?= 0
# One more than there are processors, as tests wait now and then; each has a Postgres and may have a whole stack.
WORKERS ?= $(shell processors=$$(nproc); echo $$((processors < 5 ? processors + 1 : 5)))
ARCH ?= arm64
BUILD_DIR ?= .aws-sam/build
POSTGRES_15 ?= /usr/lib/postgresql/15/bin
# Bytecode is kept, also where the environment says no: `make test` starts hundreds of processes, each of which would
# spend most of its start on compiling what it imports.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help

.venv/.ready: requirements/dev.lock pyproject.toml local/bootstrap
	@local/bootstrap

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9_-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: .venv/.ready ## Start everything on this machine: PORT=8080 DEMO=0 FRESH=1 VERBOSE=1
	@$(PYTHON) -m local --port $(PORT) --demo $(DEMO) --fresh $(FRESH) --verbose $(VERBOSE)

.PHONY: send
send: .venv/.ready ## Sign a payload and send it to what `make run` started: EVENT=events/stripe/….json GATEWAY=… ACCOUNT=… SECRET=bad
	@test -n "$(EVENT)" || { echo "gatehouse: which one? make send EVENT=events/stripe/payment_intent.succeeded.json" >&2; exit 2; }
	@$(PYTHON) -m local.send "$(EVENT)" --gateway "$(GATEWAY)" --account "$(ACCOUNT)" --secret "$(SECRET)"

.PHONY: stop-postgres start-postgres
stop-postgres: .venv/.ready ## Let the Postgres of `make run` go away, as in an outage
	@$(PYTHON) -m local.outage stop
start-postgres: .venv/.ready ## Bring it back
	@$(PYTHON) -m local.outage start

# A file stays with one worker, which keeps what its tests share; tests/conftest.py says which files come first.
SPREAD = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
.PHONY: test
test: .venv/.ready ## Run every test (ARGS="-k name" picks some)
	@$(PYTHON) -m pytest $(SPREAD) $(ARGS)

# Everything that speaks SQL; POSTGRES_15 is where Debian's package puts its programs.
.PHONY: test-postgres-15
test-postgres-15: .venv/.ready ## Run the tests that use a database on Postgres 15, the oldest that we support
	@TEST_POSTGRES_BINARIES=$(POSTGRES_15) $(PYTHON) -m pytest $(SPREAD) \
	    $(wildcard tests/database tests/migrations tests/intake tests/jobs)

.PHONY: lint
lint: .venv/.ready ## Lint and types
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -m mypy functions

.PHONY: check
check: lint ## Lint, types, template and its expansion, import rules, documents
	@$(PYTHON) -m pytest tests/template tests/rules --ignore tests/template/test_build.py

.PHONY: bench
bench: .venv/.ready ## Measure, in ratios to a floor of the same run; says what misses its number
	@$(PYTHON) -m bench $(ARGS)

# uvx keeps the SAM CLI away from our own packages; its wish for python3.13 on PATH is met from .venv.
.PHONY: build
build: .venv/.ready ## Build the bundle without Docker: ARCH=x86_64 for a layer that runs on this machine
	@SAM_CLI_TELEMETRY=0 ARCHITECTURE=$(ARCH) PATH="$(CURDIR)/.venv/bin:$$PATH" \
	    "$(UV)" tool run --quiet --python $(PYTHON) --from $(SAM) sam build --build-dir "$(BUILD_DIR)"
	@du -sm --apparent-size "$(BUILD_DIR)/GatehouseLayer" "$(BUILD_DIR)/ApiLayer" \
	    | awk '{n = split($$2, path, "/"); print path[n] " ($(ARCH)), unzipped: " $$1 " MB of at most 60"}'

# Kept apart too, but in a folder of its own: there it needs no network once it is installed, and starts at once.
# tests/template/test_scan.py gives it the expanded template, so `make check` and `make test` run it.
.PHONY: scan
scan: .local/checkov-$(CHECKOV)/bin/checkov ## Look for holes in an expanded template, EXPANDED=…; .checkov.yaml says what is left out, and why
	@$< --config-file .checkov.yaml --file "$(EXPANDED)"

.local/checkov-$(CHECKOV)/bin/checkov: | .venv/.ready
	@UV_TOOL_DIR=$(@D)/.. UV_TOOL_BIN_DIR=$(@D) "$(UV)" tool install --quiet --python $(PYTHON) checkov==$(CHECKOV)

.PHONY: requirements
requirements: .venv/.ready ## Show which tests prove which requirement, and what is not proved yet
	@$(PYTHON) -m local.requirements_report

# --no-emit-index-url: the locks must not name the registry of whoever made them. The layers are constrained by the
# development lock, so that the tests run with exactly the versions that are shipped, and both layers with the same.
COMPILE = "$(UV)" pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.13 $(UPGRADE)
.PHONY: lock
lock: ## Write requirements/*.lock and the layers' requirements.txt again (UPGRADE="--upgrade" for newer versions)
	@$(COMPILE) requirements/dev.in --output-file requirements/dev.lock
	@$(COMPILE) requirements/layer.in --constraint requirements/dev.lock --output-file requirements/layer.lock
	@$(COMPILE) requirements/api_layer.in --constraint requirements/dev.lock --output-file requirements/api_layer.lock
	@cp requirements/layer.lock layers/gatehouse/requirements.txt
	@cp requirements/api_layer.lock layers/api/requirements.txt

.PHONY: clean
clean: ## Remove what was built and cached; the data of `make run` stays (FRESH=1 clears that)
	@rm -rf .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	@find . -path ./.venv -prune -o -path ./.local -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# How a layer is built, shared by the Makefile of each; `sam build` calls those with ARTIFACTS_DIR set. It needs uv and
# Python 3.13, and no Docker. sam runs them in a scratch copy of their folder but names this file by its real path: that
# is how they find the rest of the project.
PROJECT := $(abspath $(dir $(abspath $(lastword $(MAKEFILE_LIST))))/..)
ARCHITECTURE ?= arm64
PLATFORM := $(if $(filter x86_64,$(ARCHITECTURE)),x86_64,aarch64)-manylinux_2_28
UV := $(shell for each in uv $(PROJECT)/.local/uv/bin/uv; do "$$each" --version >/dev/null 2>&1 && { echo "$$each"; break; }; done)
PYTHON := $(firstword $(wildcard $(PROJECT)/.venv/bin/python) python3.13)
PACKAGES = $(ARTIFACTS_DIR)/python

.PHONY: libraries package only-what-runs bytecode
libraries:
	@test -n "$(UV)" || { echo "gatehouse: uv was not found: run local/bootstrap, or install uv" >&2; exit 1; }
	@"$(UV)" pip install --quiet --require-hashes --no-deps --only-binary :all: --link-mode copy \
	    --python "$(PYTHON)" --python-version 3.13 --python-platform $(PLATFORM) \
	    --target "$(PACKAGES)" --requirements requirements.txt

# A layer with code of ours puts it in here.
package: libraries

# Leaves out what only an installer or a test run would read.
only-what-runs: package
	@rm -rf "$(PACKAGES)/bin" "$(PACKAGES)/.lock" "$(PACKAGES)"/*.dist-info/RECORD "$(PACKAGES)"/*.dist-info/direct_url.json
	@find "$(PACKAGES)" -depth -type d \( -name tests -o -name __pycache__ \) -exec rm -rf {} +

# /opt is read-only in Lambda: without bytecode each cold start compiles everything again (measured: 1.6 s against 0.4 s).
# Unchecked, because packaging changes the times of files, and bytecode that compares times would then never be used.
bytecode: only-what-runs
	@"$(PYTHON)" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$(ARTIFACTS_DIR)" -p /opt "$(PACKAGES)"

# Everything a newcomer needs: `make demo`, `make test`. Everything CI checks: `make check`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# A lock is complete: nothing is left to resolve or to build, so nothing depends on what else the index has by now.
LOCKED := $(PIP) install -q --no-deps --require-hashes --only-binary :all:
WHOLE := $(PIP) check || { echo 'The packages in $(VENV) do not fit together. Anew: make clean $(MAKECMDGOALS)'; exit 1; }

# Where it is set, each of a thousand processes would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick lint check bench bench-peers bench-validation check-loaders chaos world lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(VENV)/.runtime ## virtual environment with lipika in it

demo: $(VENV)/.runtime ## the main job on sample speech: no key, no server, no root
	@$(BIN)/lipika demo

test: $(VENV)/.dev ## every test
	@$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

quick: $(VENV)/.dev ## the tests that need no server: about a minute
	@$(BIN)/python -m pytest -q --ignore-glob='*/servers' --ignore=tests/world --numprocesses=auto --maxprocesses=4 --dist=loadfile

lint: $(VENV)/.dev ## format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint test ## everything CI checks

bench: $(VENV)/.dev ## speed, beside the physical floor, as ratios of one run
	@$(BIN)/python -m benchmarks

bench-peers: $(VENV)/.dev ## other clients on the same requests and the same quota (installs them, each apart)
	@$(BIN)/python -m benchmarks.peers

bench-validation: $(VENV)/.dev ## precision and recall of validation, by kind of fault and language
	@$(BIN)/python -m benchmarks.validation

check-loaders: $(VENV)/.dev ## do NeMo, Lhotse, Hugging Face ... give every sample of an export? (installs them: 6 GB; LIGHT=1 does without)
	@$(BIN)/python scripts/check_loaders.py $(if $(LIGHT),--light) $(if $(ANEW),--anew)
	@$(if $(LIGHT),,$(BIN)/python scripts/check_packing.py)

chaos: $(VENV)/.dev ## six workers, killed and stopped forty times: is anything lost or paid for twice?
	@$(BIN)/python -m benchmarks.chaos

world: $(VENV)/.dev ## sounds, archives and replies that nobody here made, with fresh seeds, for MINUTES (30)
	@WORLD_MINUTES=$(or $(MINUTES),30) $(BIN)/python -m pytest tests/world --numprocesses=2 --dist=loadfile --timeout=0 -rA

lock: ## pin again what pyproject.toml allows (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra export pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	printf '%s\n' hatchling editables | uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate -c requirements-dev.lock - -o deploy/image/build.lock

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist out demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"lipika needs Python 3.11 or newer; $(PYTHON) is {v.major}.{v.minor}. Try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@$(PYTHON) -m venv $(VENV) || { echo 'The venv module is missing; on Debian and Ubuntu: apt install python3-venv'; rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: $(BIN)/python requirements.lock deploy/image/build.lock pyproject.toml
	@echo 'Installing lipika and its dependencies (once) ...'
	@$(LOCKED) -r requirements.lock -r deploy/image/build.lock
	@$(PIP) uninstall -q -y lipika 2>/dev/null || true # what the distribution was called before
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@$(WHOLE)
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo 'Installing test tools (once) ...'
	@$(LOCKED) --no-compile -r requirements-dev.lock # most of their modules are never imported
	@$(WHOLE)
	@touch $@

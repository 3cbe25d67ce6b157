# make run: from a bare python3 to a served price. Needs python3 (3.11 to 3.13) with venv, and libgomp.
PYTHON ?= python3
DATASET ?= king_county
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run up test check bench drills lock down clean installer prerequisites
.DEFAULT_GOAL := run

run: $(READY)  ## Train, gate, release and serve $(DATASET); the endpoint stays until `make down`.
	@$(BIN)/hedonic run $(DATASET)
	@$(BIN)/hedonic serve $(DATASET)
	@$(BIN)/hedonic predict $(DATASET)

up: $(READY)  ## Everything on this machine, until Ctrl-C: Prefect, worker, watcher, MLflow, Optuna, endpoints, front page.
	@$(BIN)/hedonic up

test: $(READY)  ## Every test, a file at a time on each of two cores.
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(READY)  ## Lint, format, types, import rules, quick unit tests.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/unit -q -m "not slow" -n 2

bench: $(READY)  ## The figures of the README.
	@$(BIN)/python -m benchmarks.baseline
	@$(BIN)/hedonic run king_county >/dev/null
	@$(BIN)/python -m benchmarks.serving --profile
	@$(BIN)/python -m benchmarks.orchestration

drills: $(READY)  ## The drills (faults, load, fuzzing, swaps) as often as was promised, and the table of what they found.
	@HEDONIC_DRILLS=full $(BIN)/python -m pytest -m drill
	@$(BIN)/python -m pytest tests/containers/drill_worker.py
	@$(BIN)/python -m pytest tests/e2e/drill_same_bytes.py

lock: installer  ## Resolve the three lock files again, within the bounds of pyproject.toml.
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		pyproject.toml --extra factory --extra dev -o requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		pyproject.toml --constraints requirements.txt -o requirements-serve.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		pyproject.toml --extra factory --constraints requirements.txt -o requirements-factory.txt

down:  ## Stop everything that Hedonic started.
	@if [ -x $(BIN)/hedonic ]; then $(BIN)/hedonic down; fi

clean: down  ## Remove the environment and the caches; your state in .hedonic/ stays.
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made again only when the lock or the project's own metadata changed.
$(READY): requirements.txt pyproject.toml
	@$(MAKE) --no-print-directory installer
	@echo "installing the locked packages into $(VENV)"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $(READY)

# The lock needs this alone: it must not first install the lock that it is about to replace.
installer: prerequisites
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@[ -x $(BIN)/uv ] && $(BIN)/uv --version | grep -q " $(UV_VERSION)" \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"

prerequisites:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "$(PYTHON): not found. Install it: apt-get install -y python3 python3-venv" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), Hedonic needs 3.11 to 3.13. Install one:" \
			"apt-get install -y python3.11 python3.11-venv, then: make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv. Install it: apt-get install -y python3-venv" >&2; exit 2; }
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || { \
		echo "libgomp.so.1 is missing (LightGBM needs it). Install it: apt-get install -y libgomp1" >&2; exit 2; }

# make run: from a bare python3 to a served price. Needs python3 (3.11 to 3.13) with venv, and libgomp.
PYTHON ?= python3
DATASET ?= king_county
export DATASET
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CHECKS := .checks
CHECKED := $(CHECKS)/.ready
DOCKERFILES = $(shell find deployments Dockerfile -type f -name '*Dockerfile' 2>/dev/null)
MANIFESTS = $(shell find deployments/kubernetes -type f -name '*.yaml' ! -name 'kustomization.yaml' ! -path '*/patches/*' 2>/dev/null)
SCANNER_RULES = $(CHECKS)/kingfisher
SCANNED := src delivery bentos flows tasks
AUDITED := requirements.txt requirements-serve.txt requirements-factory.txt requirements-checks.txt

.PHONY: run up test check bench drills gate-rates lock down clean installer prerequisites
.PHONY: pull retrain parcel take image version known-prediction ship
.PHONY: static structure lint style types imports workflows dockerfiles manifests bandit secrets licences audit coverage newest
.DEFAULT_GOAL := run

run: $(READY)  ## Train, gate, release and serve $(DATASET); the endpoint stays until `make down`.
	@$(BIN)/hedonic run $(DATASET)
	@$(BIN)/hedonic serve $(DATASET)
	@$(BIN)/hedonic predict $(DATASET)

up: $(READY)  ## Everything on this machine, until Ctrl-C: Prefect, worker, watcher, MLflow, Optuna, endpoints, front page.
	@$(BIN)/hedonic up

test: $(READY) $(CHECKED)  ## Every test, a file at a time on each of two cores.
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: static  ## All that is quick: order, lint, types, scans, unit tests.
	@$(BIN)/python -m pytest tests/unit -q -m "not slow" -n 2

static: structure lint workflows dockerfiles manifests bandit secrets licences  ## What is read and not run.

structure:  ## Is everything in its place? Needs python3 and git alone.
	@$(PYTHON) -m delivery.structure

lint: style types imports  ## Lint, format, types, import rules.

style: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)
	@$(BIN)/mypy

imports: $(READY)
	@$(BIN)/lint-imports

workflows: $(CHECKED)  ## The workflows: are they sound, and what could an outsider do with them?
	@$(CHECKS)/bin/actionlint
	@$(CHECKS)/bin/zizmor --offline --quiet --no-progress --persona=pedantic --config zizmor.yml .github

dockerfiles: $(CHECKED)  ## Every Dockerfile.
	@for file in $(DOCKERFILES); do $(CHECKS)/bin/hadolint "$$file" || exit 1; done

manifests: $(CHECKED)  ## Every manifest, against Kubernetes' own schemas.
	@for file in $(MANIFESTS); do $(CHECKS)/bin/kubernetes-validate --strict --quiet "$$file" || exit 1; done

bandit: $(CHECKED)  ## The sources' security lint.
	@$(CHECKS)/bin/bandit --quiet --recursive --configfile pyproject.toml $(SCANNED)

secrets: $(CHECKED)  ## Is there a secret in the tree, or in any commit? Nothing is asked of anyone.
	@$(CHECKS)/bin/kingfisher scan . --no-validate --no-update-check --confidence medium --redact --quiet \
		--rule-cache-dir $(SCANNER_RULES) --exclude '$(VENV)/' --exclude '$(CHECKS)/' --exclude '.hedonic/'

licences: $(READY) $(CHECKED)  ## May we use what we install?
	@$(BIN)/python -m delivery.licences --tool $(CHECKS)/bin/pip-licenses --python $(BIN)/python

audit: $(READY) $(CHECKED)  ## Known vulnerabilities of what is locked; asks osv.dev. Red when it cannot tell.
	@$(BIN)/python -m delivery.audit --tool $(CHECKS)/bin/pip-audit $(if $(OSV),--service $(OSV)) $(AUDITED)

coverage: $(READY) $(CHECKED)  ## Every test, and how much of src/ they run: 90 % at least.
	@$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered --cov-report=json

# What comes from a form is named $$THUS, as a variable of the shell: never pasted into a command.
pull: $(READY)  ## The champion from HEDONIC_HISTORY_URL and HEDONIC_STORE_URL; BOOTSTRAP=true: there may be none yet.
	@$(BIN)/hedonic pull "$$DATASET" $(if $(filter true,$(BOOTSTRAP)),--bootstrap)

retrain: $(READY)  ## Pull the champion and train against it; red unless the candidate is promoted. Writes retrain.json.
	@rm -f retrain.json
	@$(MAKE) --no-print-directory pull
	@$(BIN)/hedonic run "$$DATASET" --require-promotion --json --reason "$${REASON:-retrain}" \
		$${TRIALS:+--trials "$$TRIALS"} $${FAMILIES:+--families "$$FAMILIES"} $${SEED:+--seed "$$SEED"} >retrain.json

parcel: $(READY)  ## Study, verdict and release of the run in retrain.json, for a later job.
	@$(BIN)/python -m delivery.handover pack retrain.json parcel

take: $(READY)  ## The release out of a parcel, if it is RELEASE, and its bento, if it is BENTO.
	@$(BIN)/python -m delivery.handover take parcel "$$DATASET" "$$RELEASE" "$$BENTO"

image: $(READY)  ## The champion's image; BUILDX_CACHE names a folder of layers to begin with and to leave behind.
	@$(BIN)/hedonic image "$$DATASET"

version: $(READY)  ## Under which version RELEASE ships: the how many-th champion of DATASET it is, by the history.
	@$(BIN)/python -m delivery.version "$$DATASET" "$$RELEASE"

known-prediction: $(READY)  ## Run the champion's image hardened, and compare its golden rows.
	@$(BIN)/python -m delivery.image "$$DATASET"

ship: $(READY)  ## IMAGE to REPOSITORY under digest, COMMIT and VERSION; EVENT and DEBUG decide whether it leaves.
	@$(BIN)/python -m delivery.shipping "$$IMAGE" "$$REPOSITORY" --commit "$$COMMIT" --version "$$VERSION" \
		--event "$$EVENT" --debug "$$DEBUG" $${REGISTRY:+--told-as "$$REGISTRY"}

newest: $(READY)  ## The newest versions of everything, and the first that breaks us.
	@$(BIN)/python -m delivery.newest --uv $(BIN)/uv $(if $(LIFT_BOUNDS),--lift-bounds) $(NEWEST)

bench: $(READY)  ## The figures of the README.
	@$(BIN)/python -m benchmarks.baseline
	@$(BIN)/hedonic run king_county >/dev/null
	@$(BIN)/python -m benchmarks.serving --profile
	@$(BIN)/python -m benchmarks.orchestration
	@$(BIN)/python -m benchmarks.gate

drills: $(READY)  ## The drills (faults, load, fuzzing, swaps) as often as was promised, and the table of what they found.
	@HEDONIC_DRILLS=full $(BIN)/python -m pytest -m drill
	@$(BIN)/python -m pytest tests/containers/drill_worker.py
	@$(BIN)/python -m pytest tests/containers/drill_compose.py tests/containers/drill_production.py
	@$(BIN)/python -m pytest tests/e2e/drill_same_bytes.py

gate-rates: $(READY)  ## How often the gate promotes what is no better, and what is; red where a stated rate is not kept.
	@$(BIN)/python -m benchmarks.gate --json

# One version of a package for every Python: the fewest.
RESOLVE = $(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --generate-hashes --no-emit-index-url \
	--python-version 3.11

lock: installer  ## Resolve the three lock files again, within the bounds of pyproject.toml.
	@$(RESOLVE) pyproject.toml --extra factory --extra dev -o requirements.txt
	@$(RESOLVE) pyproject.toml --constraints requirements.txt -o requirements-serve.txt
	@$(RESOLVE) pyproject.toml --extra factory --constraints requirements.txt -o requirements-factory.txt
	@$(RESOLVE) --group pyproject.toml:checks -o requirements-checks.txt

down:  ## Stop everything that Hedonic started.
	@if [ -x $(BIN)/hedonic ]; then $(BIN)/hedonic down; fi

clean: down  ## Remove the environment and the caches; your state in .hedonic/ stays.
	@rm -rf $(VENV) $(CHECKS) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made again only when the lock or the project's own metadata changed.
$(READY): requirements.txt pyproject.toml
	@$(MAKE) --no-print-directory installer
	@echo "installing the locked packages into $(VENV)"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $(READY)

# What checks the repository, apart from what it is made of.
$(CHECKED): requirements-checks.txt
	@$(MAKE) --no-print-directory installer
	@echo "installing the checks into $(CHECKS)"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(CHECKS)
	@$(BIN)/uv pip sync --quiet --python $(CHECKS)/bin/python --require-hashes requirements-checks.txt
	@touch $(CHECKED)

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

# `make` alone is enough on a machine with Python 3.11: every target sets the environment up first.
PYTHON ?= python3.11
TORCH ?= torch==2.13.0
VENV ?= .venv
CORES ?= 2
RAW_ROOT ?= ../shared/data
FOLDS ?= 1 2 3 4 5
PYTEST_ARGS ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := sat baselines evaluation reports
SMK := Snakefile $(wildcard */rules.smk)
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

.DEFAULT_GOAL := help
.PHONY: help setup lint format test test-long test-faults test-changes test-slurm demo hippocampus \
        sunnybrook universal universal-real hermes-small ablation bench bench-metrics bench-distances bench-data \
        bench-sat bench-sat-full bench-statistics bench-audit bench-universal bench-windows coverage docs clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | column -t -s "$$(printf '\t')"

setup: $(READY) ## install the locked environment into .venv

# torch is not in the lock: its builds for CPUs and for each CUDA come from different places with
# different hashes, and TORCH says which one this machine wants. All else is checked by hash, and
# what is built is built with the locked setuptools.
$(READY): requirements.lock requirements-build.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements-build.lock
	$(BIN)/pip install --quiet --require-hashes --no-deps --no-build-isolation -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lint: $(READY) ## ruff, mypy, snakefmt, hadolint and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check $(SMK)
	$(BIN)/hadolint Dockerfile challenge/Dockerfile
	$(BIN)/lint-imports

format: $(READY) ## write the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt $(SMK)

test: $(READY) ## the quick tests, minutes on two cores
	$(BIN)/pytest -n $(CORES) --dist loadfile --no-loadscope-reorder -m "not long and not slurm and not changes and not faults" \
		$(PYTEST_ARGS)

test-long: $(READY) ## simulations and memory tests
	$(BIN)/pytest -m long $(PYTEST_ARGS)

test-faults: $(READY) ## bad inputs by entry point and faults by stage, with counts
	$(BIN)/pytest -m faults $(PYTEST_ARGS)

test-changes: $(READY) ## a run changed in many ways against fresh runs of the same
	$(BIN)/pytest -m changes $(PYTEST_ARGS)

test-slurm: $(READY) ## the workflow on a real Slurm on this machine
	$(BIN)/pytest -m slurm $(PYTEST_ARGS)

demo: $(READY) ## the whole path on virtual patients, minutes on two cores
	$(SNAKEMAKE) --configfile config/demo.yaml
	$(BIN)/satbench stress --run results/demo --model sat-nano
	$(BIN)/satbench report --run results/demo

hippocampus: $(READY) ## both models on the 260 real cases of MSD Hippocampus
	$(SNAKEMAKE) --configfile config/hippocampus.yaml --config raw_root="$(RAW_ROOT)"

universal: $(READY) ## the nine universal systems beside both models, on virtual patients
	$(SNAKEMAKE) --configfile config/universal.yaml

sunnybrook: ## both models on five real hearts, one left out at a time: an hour
universal-real: ## one joint training on real scans of three regions, five folds: hours

sunnybrook universal-real: $(READY)
	for fold in $(FOLDS); do \
	    $(SNAKEMAKE) --configfile config/$@.yaml \
	        --config name=$@-$$fold fold=$$fold raw_root="$(RAW_ROOT)" || exit 1; \
	done
	$(BIN)/satbench join-folds $(FOLDS:%=results/$@-%) --out results/$@
	$(BIN)/satbench aggregate --run results/$@
	$(BIN)/satbench report --run results/$@

hermes-small: $(READY) ## the second study on virtual patients: its tables, figures and downstream tasks
	$(SNAKEMAKE) --configfile config/hermes-small.yaml
	$(SNAKEMAKE) --configfile config/hermes-small-downstream.yaml
	for model in hermes-r hermes-m; do \
	    $(BIN)/satbench universal priors --run results/hermes-small --model $$model || exit 1; \
	done

ablation: $(READY) ## class ids, text and knowledge on virtual patients: an hour
	$(SNAKEMAKE) --configfile config/ablation.yaml --until split
	$(BIN)/satbench train --run results/ablation --model sat-nano --stage prepare
	$(BIN)/satbench sat ablation --run results/ablation

bench: bench-metrics bench-data bench-sat bench-statistics ## all quick benchmarks

bench-metrics: bench-distances

bench-distances: $(READY)
	$(BIN)/python -m tests.bench.distances $(DISTANCE_ARGS)

bench-metrics bench-data bench-sat bench-sat-full bench-statistics bench-audit bench-universal bench-windows: bench-%: $(READY)
	$(BIN)/python -m tests.bench.$(subst -,_,$*) $(BENCH_ARGS)

coverage: $(READY) ## the quick tests with the share of lines that they run, printed and not gated
	$(MAKE) test PYTEST_ARGS="--cov --cov-report=term $(PYTEST_ARGS)"

docs: $(READY) ## the site of docs/ into build/docs, with every link checked
	$(BIN)/python docs/build.py

clean: ## remove caches and everything that a run made, not the environment
	rm -rf .snakemake .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	find results reports/out -mindepth 1 -not -name README.md -delete 2>/dev/null || true

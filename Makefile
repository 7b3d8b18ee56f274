# The only entry point for development commands; `make help` lists them.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
MINUTES ?= 10
JOBS ?= 1
WORKERS ?= 2
N ?= 0
SEED ?=
KIND ?=
SIZE ?= 1500
SHORT ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test scenes faults schedules check fmt lint types bench fuzz proto proto-check snapshot lock clean

help: ## show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "GoSight needs Python 3.11 or 3.12 on PATH."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

setup: $(VENV)/.installed ## install into .venv, with the `gosight` command

setup-dev: $(VENV)/.installed-dev ## install what tests and checks need, too

demo: setup ## everything on this machine, with sample traffic; ARGS="--once --json" for scripts
	@$(BIN)/gosight demo $(ARGS)

test: setup-dev ## all tests, the integration tests on real servers included; WORKERS=2, 0 for one process
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

scenes: setup-dev ## precision and recall of each detector on the labelled scenes
	@$(BIN)/python -m tests.scene_scores

faults: setup-dev ## break everything, again and again: N=200, JOBS=2, KIND=F3, SEED=1, SIZE=1500; docs/faults.md
	@$(BIN)/python -m tests.faults --number $(N) --jobs $(JOBS) --size $(SIZE) $(if $(KIND),--kind $(KIND)) $(if $(SEED),--seed $(SEED)) $(if $(SHORT),--short)

schedules: setup-dev ## many ways for a session to arrive, each must give the same; N=2000
	GOSIGHT_SCHEDULES=$(if $(filter-out 0,$(N)),$(N),2000) $(BIN)/python -m pytest -q tests/unit/flows/test_behaviour_schedules.py tests/unit/flows/test_live_detectors.py

check: setup-dev lint types proto-check test ## everything CI wants

fmt: setup-dev ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup-dev ## format, lint and layering checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: setup-dev ## mypy --strict
	$(BIN)/mypy

bench: setup ## the benchmarks; prints figures, one JSON line each
	@$(BIN)/python -m benchmarks $(ARGS)

fuzz: setup-dev ## fuzz the gateway, MINUTES=10 an entry; SEED=, ENTRY=, ARGS="--together"
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(ENTRY),--entry $(ENTRY)) $(ARGS)

proto: setup-dev ## generate code from schemas/v1/*.proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. schemas/v1/*.proto

proto-check: setup-dev ## fail when generated code is stale
	@tmp=$$(mktemp -d) && $(BIN)/python -m grpc_tools.protoc -I. --python_out=$$tmp --pyi_out=$$tmp schemas/v1/*.proto \
	  && for f in $$(cd $$tmp && find . -name '*_pb2.py*'); do cmp -s $$tmp/$$f $$f || { echo "stale: $$f; run make proto"; rm -rf $$tmp; exit 1; }; done; rm -rf $$tmp

lock: setup-dev ## pin all dependencies with hashes again
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --extra standalone -o requirements.txt pyproject.toml requirements-build.in
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --extra standalone --extra dev -o requirements-dev.txt -c requirements.txt pyproject.toml requirements-build.in

snapshot: setup-dev ## write the resulting schemas to sql/snapshot
	$(BIN)/python -m sql

clean: ## remove the environment and the local data
	rm -rf $(VENV) .gosight .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The two commands of the README, and what they stand on.
#   make demo   install, then distil real handwritten digits and write a report
#   make test   install, then format, lint, types, import contracts and tests

VENV   := .venv
STAMP  := $(VENV)/.installed
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v "$$p" && break; done)
DEMO   ?= limbeck-demo

export UV_PYTHON_DOWNLOADS := never

.PHONY: demo test install format bench docs clean

demo: $(STAMP)
	@$(VENV)/bin/limbeck demo --out $(DEMO)

test: $(STAMP)
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m pytest

install: $(STAMP)

$(STAMP): pyproject.toml uv.lock
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed and was not found; install it, or say PYTHON=/path/to/python3." >&2; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || $(VENV)/bin/python -m pip install --quiet uv
	@UV_PROJECT_ENVIRONMENT=$(VENV) PATH="$(CURDIR)/$(VENV)/bin:$$PATH" uv sync --locked --all-extras --inexact --quiet
	@touch $@

format: $(STAMP)
	$(VENV)/bin/ruff format
	$(VENV)/bin/ruff check --fix

bench: $(STAMP)
	$(VENV)/bin/python -m bench.wkd_logit --out results/bench-wkd-logit.json
	$(VENV)/bin/python -m bench.kd_step --out results/bench-kd-step.json
	$(VENV)/bin/python -m bench.stored_logits --out results/bench-stored-logits.json
	$(VENV)/bin/python -m bench.relation_losses --out results/bench-relation-losses.json
	$(VENV)/bin/python -m bench.input_pipeline --out results/bench-input-pipeline.json
	$(VENV)/bin/python -m bench.trajectory_matching --out results/bench-trajectory-matching.json
	$(VENV)/bin/python -m bench.small_set_steps --out results/bench-small-set-steps.json
	$(VENV)/bin/python -m bench.experts_at_once --out results/bench-experts-at-once.json
	$(VENV)/bin/python -m bench.flow_steps --out results/bench-flow-steps.json
	$(VENV)/bin/python -m bench.detect_step --out results/bench-detect-step.json
	$(VENV)/bin/python -m bench.solver_orders --out results/flow-solvers.json

docs: $(STAMP)
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "site/index.html"

clean:
	rm -rf $(VENV) $(DEMO) site build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

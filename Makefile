PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export DO_NOT_TRACK = 1
export PREFECT_SERVER_ANALYTICS_ENABLED = false

.PHONY: install demo ui test check format proofs bench bench-quick clean

install: $(READY)

demo: $(READY)
	$(BIN)/python -m flows.demo

ui: $(READY)
	$(BIN)/python -m flows.demo ui

test: $(READY)
	$(BIN)/pytest -q -n 2 -m "not proof and not sandbox"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proofs: $(READY)
	$(BIN)/pytest -q -m proof --timeout 600

bench: $(READY)
	$(BIN)/python -m benchmarks $(BENCH)

bench-quick: $(READY)
	$(BIN)/python -m benchmarks --quick --out benchmarks/scratch/results-quick.md $(BENCH)

clean:
	rm -rf work build dist

$(READY): pyproject.toml constraints.txt
	if command -v uv >/dev/null 2>&1; then \
	  uv venv -q --allow-existing --python $(PYTHON) $(VENV) && uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/pip install -q -c constraints.txt -e '.[dev]'; \
	fi
	touch $@

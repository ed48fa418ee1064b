# `make demo` trains a spiking network and shows it live. `make test` and `make lint` are what CI runs (.ci/run).
#   VENV=…    where the virtual environment is made (default .venv)
#   TORCH=…   which of PyTorch's own builds to take: cpu, cu126, cu128, … (default: on Linux without a card, cpu; else what
#             pip takes)

VENV ?= .venv
PYTHON ?= python3
TORCH ?=
BUILDS := https://download.pytorch.org/whl
BIN := $(VENV)/bin

.PHONY: demo test check alarms faults races hosts slurm fuzz zoo monkey gpu screenshots results results-train docs install install-dev lint clean

demo: $(VENV)/.installed
	@trap : INT; $(BIN)/rbp train digits; ended=$$?; \
	echo "  rbp is $(BIN)/rbp; source $(BIN)/activate puts it on the path" >&2; exit $$ended

# Four processes on two cores: real runs and the dashboard spend much of their time waiting.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 4 --dist loadgroup

# For the work between: what make test does, but for real runs, the dashboard and what has to be compiled first.
check: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not compiles" tests/unit

# One test of these may take longer than any of make test.
faults races slurm fuzz monkey: export PYTEST_TIMEOUT := 7200

# The fault harness, eleven minutes; CI does a tenth of its trials.
faults: $(VENV)/.installed-dev
	RBP_FAULT_TRIALS=50 $(BIN)/python -m pytest -n 2 --dist loadgroup tests/faults

# 8 real processes that race for 200 jobs and are killed now and then: ten minutes. CI does 6 jobs.
races: $(VENV)/.installed-dev
	RBP_RACING_JOBS=200 $(BIN)/python -m pytest tests/races

# Job files submitted to a real Slurm, with what it has done as a transcript: root and Debian's slurm-wlm and munge, in some
# minutes. CI skips these.
slurm: $(VENV)/.installed-dev
	RBP_SLURM=1 $(BIN)/python -m pytest -v -s tests/slurm

# Random networks against independent oracles, also compiled, checkpointed and under autocast, and random mischief in the
# files of others: half an hour on two cores. CI takes 60 eager networks and 24 mischiefs.
fuzz: $(VENV)/.installed-dev
	RBP_FUZZ_NETWORKS=2000 RBP_FUZZ_WRAPPED=200 RBP_FUZZ_HOSTILE=3400 $(BIN)/python -m pytest -n 2 --dist loadgroup tests/fuzz
	RBP_EVERY_CASE=1 $(BIN)/python -m pytest -n 2 --dist loadgroup tests/unit/spiking tests/unit/models

# The rate gradient of ten networks of torchvision and timm against its definition, in a minute. CI takes two.
zoo: $(VENV)/.installed-dev
	RBP_ZOO=1 $(BIN)/python -m pytest -n 2 --dist loadgroup tests/zoo

# Runs on another host, which is this one behind an sshd on loopback, in a minute. CI does the half that trains nothing.
hosts: $(VENV)/.installed-dev
	RBP_HOSTS=1 $(BIN)/python -m pytest tests/integration/hosts

# A monkey at the dashboard: 5 × 2000 random keys, clicks, resizes and pastes, in half an hour. CI does 200.
monkey: $(VENV)/.installed-dev
	RBP_MONKEY_SEEDS=5 RBP_MONKEY_ACTS=2000 $(BIN)/python -m pytest -n 2 tests/dashboard/test_monkey.py

# The runs that alarms are tested with, trained anew: with a fault, and of each preset that has its data everywhere.
alarms: $(VENV)/.installed-dev
	$(BIN)/python tests/alarms/record.py
	$(BIN)/python -m pytest tests/alarms

# What needs a card: training steps against SpikingJelly and an ANN, how well they use it, the input pipeline, tests; a page
# of it (gpu-report.md) within ten minutes. Without a card the page says what was skipped.
gpu: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/gpu_report.py

# The pictures of the README, made anew from real runs.
screenshots: $(VENV)/.installed
	$(BIN)/python docs/screenshots.py

# docs/results.md and its pictures from what docs/results keeps, in seconds; and the training of its sweeps, in some 14
# hours of two cores. Interrupted, it goes on where it was.
results: $(VENV)/.installed
	$(BIN)/python docs/results.py
	$(BIN)/python docs/bench.py

results-train: $(VENV)/.installed
	for sweep in docs/results/results-*.toml; do $(BIN)/rbp sweep $$sweep --no-cost || exit 1; done
	$(BIN)/python docs/results.py keep $${RBP_RUNS:-runs}

# The pages of docs, README and its neighbours with a reference of settings, commands and functions, as a site in
# build/site. It fails if a link leads nowhere, or if a page would ask another host for a font, script or picture.
docs: $(VENV)/.installed-docs
	rm -rf build/docs
	$(BIN)/python docs/reference.py build/docs
	$(BIN)/zensical build --clean
	@! grep -rP 'src="?(https?:)?//|<link(?![^>]*canonical)[^>]*href="?(https?:)?//' build/site --include '*.html'

# Apart from the tests: what the checkers find also depends on the types of the packages that are installed.
lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "rbp needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The torch of PyPI for Linux has CUDA in it, some GB. A machine without a card gets the CPU's, unless there is a torch
# already; where PyTorch's index cannot be reached, pip gives up within a minute.
$(VENV)/.torch: | $(VENV)/bin/python
ifneq ($(TORCH),)
	$(BIN)/python -m pip install torch torchvision --index-url $(BUILDS)/$(TORCH)
else
	@if [ "$$(uname -s)" = Linux ] && ! nvidia-smi --list-gpus > /dev/null 2>&1 \
	  && ! $(BIN)/python -c 'import sys, importlib.util; sys.exit(not importlib.util.find_spec("torch"))'; then \
	  echo 'No card answers nvidia-smi: installing the torch for CPUs (TORCH=cu128 takes one for cards).'; \
	  $(BIN)/python -m pip install --timeout 10 --retries 1 torch torchvision --index-url $(BUILDS)/cpu \
	    || echo '$(BUILDS)/cpu does not serve torch here: installing what pip finds, maybe with CUDA.'; \
	fi
endif
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.torch
	@echo 'Installing rbp and what it needs into $(VENV): some minutes, most of them for torch.'
	$(BIN)/python -m pip install --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.torch
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/.torch
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .cache

# make install, then make train_countdown. `make help` lists the rest.

# Python 3.11 or later that makes the environment.
PYTHON ?= python3
# More arguments for snakemake, pytest or pip-compile.
ARGS ?=
# Trained run that `make bench` measures.
RUN ?= results/mini/datawhale_r1/trl/seed0

# Which torch: cpu, cuda, or auto (cuda if nvidia-smi finds a GPU).
TORCH ?= auto
# Index with CPU builds for Linux, or a mirror of it. PyPI has CUDA builds alone.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# A torch wheel on disk or its URL, taken instead of all the above.
TORCH_WHEEL ?=

VENV := .venv
# 1: vLLM and DeepSpeed too, with a CUDA build of torch. What is installed stays.
VLLM ?= $(if $(wildcard $(VENV)/installed-gpu),1)

PIP := $(VENV)/bin/python -m pip --require-virtualenv --disable-pip-version-check --no-input
PROGRAMS := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

TORCH_VERSION := $(shell sed -n 's/^torch==\([^ ]*\).*/\1/p' requirements.lock)
ifeq ($(TORCH),auto)
ROUTE := $(if $(VLLM),cuda,$(shell nvidia-smi --list-gpus >/dev/null 2>&1 && echo cuda || echo cpu))
else
ROUTE := $(TORCH)
endif
# Another version or route of torch makes the environment anew.
TORCH_STAMP := $(VENV)/torch-$(TORCH_VERSION)-$(ROUTE)
LOCK := requirements$(if $(VLLM),-gpu).lock
STAMP := $(VENV)/installed$(if $(VLLM),-gpu)
# Built against the torch, the setuptools and the ninja that are installed, so it comes last.
DEEPSPEED := $(shell sed -n 's/^\(deepspeed==[^ ]*\).*/\1/p' requirements-gpu.lock)

.DEFAULT_GOAL := help
.PHONY: help install slurm train_countdown test test-fast test-cluster test-kills test-vllm test-swift bench schema lock

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## Make .venv with everything in it (TORCH=cpu or TORCH=cuda to choose; VLLM=1 for vLLM and DeepSpeed).

train_countdown: install ## Train, evaluate and report the selected Countdown recipes.
	$(PROGRAMS) snakemake --cores all train_countdown $(ARGS)

slurm: install ## Add the plugin that submits jobs to SLURM to .venv.
	@$(PIP) install --quiet --constraint requirements.lock --requirement envs/slurm.lock

test: install ## Formatters, linters, types, then every test that needs no GPU.
	$(VENV)/bin/ruff check --no-cache
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/snakefmt --check Snakefile rules
	$(PROGRAMS) snakemake --lint
	$(VENV)/bin/mypy
	$(PROGRAMS) OMP_NUM_THREADS=1 pytest -m "not gpu and not vllm and not swift and not cluster and not kills" --numprocesses auto --maxprocesses 4 \
	  --dist loadfile $(ARGS)

test-fast: install ## The tests that take seconds.
	$(PROGRAMS) pytest -m "not slow and not cluster and not kills and not browser and not gpu and not vllm and not swift" $(ARGS)

test-cluster: slurm ## A SLURM cluster on this machine (needs slurmctld, slurmd, slurm-client, munge).
	$(PROGRAMS) OMP_NUM_THREADS=1 pytest -m cluster tests/cluster $(ARGS)

test-kills: install ## Kill the workflow at random points, and compare what it ends with (ARGS="-k seed0" for a few).
	$(PROGRAMS) OMP_NUM_THREADS=1 pytest -s -m kills tests/kills $(ARGS)

test-vllm: install ## Train with the CPU build of vLLM, in an environment of its own.
	$(PROGRAMS) OMP_NUM_THREADS=1 pytest -s tests/train/backends/trl/vllm_on_cpu $(ARGS)

test-swift: install ## Train with ms-swift, in an environment of its own.
	$(PROGRAMS) OMP_NUM_THREADS=1 pytest -m swift tests/train/backends/swift $(ARGS)

bench: install ## Measure training and grading on this machine (RUN=FOLDER of a run).
	@test -f $(RUN)/plan/plan.json || { echo "no run in $(RUN): make train_countdown first" >&2; exit 1; }
	$(PROGRAMS) python scripts/bench_mini.py --run $(RUN)
	$(VENV)/bin/python scripts/bench_grader.py

schema: install ## Write config/schema/ and docs/configuration.md from the settings.
	$(VENV)/bin/python -m r1zero schema

$(STAMP): $(TORCH_STAMP) $(LOCK) pyproject.toml
	@rm -f $(VENV)/installed $(VENV)/installed-gpu
	@echo "Installing the packages of $(LOCK)"
	@grep -v '^deepspeed==' $(LOCK) > $(VENV)/packages.txt
	@$(PIP) install --quiet --requirement $(VENV)/packages.txt
ifneq ($(VLLM),)
	@$(PIP) install --quiet --no-deps --no-build-isolation $(DEEPSPEED)
endif
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# On Linux the CPU route never falls back to PyPI, whose build brings gigabytes of CUDA packages. A
# wheel that pip's own configuration finds comes first: it costs no download.
$(TORCH_STAMP):
	@test -n "$(TORCH_VERSION)" || { echo "requirements.lock has no line torch==VERSION" >&2; exit 1; }
	@case "$(ROUTE)" in cpu|cuda) ;; *) echo "TORCH=$(TORCH): auto, cpu or cuda" >&2; exit 1;; esac
	@case "$(VLLM)-$(ROUTE)" in 1-cpu) echo "VLLM=1 needs a CUDA build of torch: TORCH=cuda, not TORCH=cpu" >&2; exit 1;; esac
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make install PYTHON=python3.11")'
	@echo "Making $(VENV) with torch $(TORCH_VERSION) ($(ROUTE))"
	@$(PYTHON) -m venv --clear $(VENV)
ifneq ($(TORCH_WHEEL),)
	@$(PIP) install --no-deps $(TORCH_WHEEL)
else ifeq ($(ROUTE)-$(shell uname -s),cpu-Linux)
	@$(PIP) install --quiet --no-deps --no-index torch==$(TORCH_VERSION)+cpu 2>/dev/null \
	  || $(PIP) install --no-deps --index-url $(TORCH_INDEX) torch==$(TORCH_VERSION)+cpu \
	  || { echo "No CPU build of torch $(TORCH_VERSION). Name a mirror of its index with TORCH_INDEX=URL, a wheel with TORCH_WHEEL=PATH, or take the CUDA build with TORCH=cuda." >&2; exit 1; }
else
	@$(PIP) install torch==$(TORCH_VERSION)
	@$(VENV)/bin/python -c 'import importlib.metadata as m, sys; sys.exit("+cpu" in m.version("torch") and "pip is configured to find a CPU build of torch first: name a CUDA build with TORCH_WHEEL, or take TORCH=cpu")'
endif
	@touch $@

# Made by the oldest supported Python, so that it holds for the later ones. torch's CUDA packages are
# left out: torch brings them along where it is installed with them. (nvidia-ml-py is none of them.)
# The GPU lock keeps the versions of the first wherever vLLM admits them. vLLM and setuptools depend on
# the version of Python there, which pip-compile cannot write down and uv can.
lock: ## Remake both locks (ARGS=--upgrade for the newest versions).
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "The lock is made on Python 3.11: make lock PYTHON=python3.11")'
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT \
	  && $(PYTHON) -m venv "$$folder" \
	  && "$$folder/bin/pip" install --quiet --disable-pip-version-check 'pip-tools>=7.6' \
	  && cp requirements.lock "$$folder/lock" \
	  && "$$folder/bin/pip-compile" --quiet --extra train --extra track --extra dev --strip-extras $(ARGS) \
	    --unsafe-package pip --annotation-style line --no-header \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	    --output-file "$$folder/lock" pyproject.toml \
	  && { printf '%s\n' \
	      '# Every package of the environment, the same for CPU and GPU machines.' \
	      '# Made from pyproject.toml by `make lock`; `make install` installs it after torch.' ''; \
	    sed -E -e '/^(nvidia-[^m]|cuda|triton)/d' -e '/^$$/,$$d' -e 's/^(torch==[^ +]*)\+[^ ]* */\1             /' "$$folder/lock"; \
	  } > "$$folder/new" \
	  && cp "$$folder/new" requirements.lock \
	  && "$$folder/bin/pip" install --quiet --disable-pip-version-check 'uv>=0.13' \
	  && cp requirements.lock "$$folder/gpu" \
	  && "$$folder/bin/uv" pip compile --quiet --universal --python-version 3.11 $(filter --upgrade,$(ARGS)) \
	    --extra train --extra track --extra dev --extra vllm --extra deepspeed \
	    --annotation-style line --no-header --output-file "$$folder/gpu" pyproject.toml \
	  && { sed '/^$$/q' requirements-gpu.lock; grep -E '^[A-Za-z]' "$$folder/gpu"; } > "$$folder/new" \
	  && cp "$$folder/new" requirements-gpu.lock

# `make` lists the targets. Each one that runs code first makes .venv, or makes it again when what it is made of
# changed: this directory, its own interpreter, the dependencies in pyproject.toml, or constraints.txt. PYTHON is the
# interpreter that .venv is made from; to change to another, `make clean` first.
PYTHON ?= python3
export PYTHON

# Under the first Python finds no stage, under the second DVC's own warnings stop it.
unexport PYTHONSAFEPATH PYTHONWARNINGS

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

# DVC is make's own child: a shell between them, as a `||` needs one, would not pass on a signal.
repro: environment  ## Run the pipeline: the stages whose code, parameters or data changed
	@.venv/bin/python -m quadrature heal --quiet || [ $$? -eq 1 ]  # it found nothing to fix
	@.venv/bin/dvc repro

quick: tools  ## Run the fast unit tests, while editing
	@$(PYTEST) -m "not slow and not nightly"

test: tools  ## Run the tests of a change: every promise at least once
	@$(PYTEST) -m "not nightly"

test-all: tools  ## Run every test in full: full-size trainings, all of tests/torture (hours)
	@$(PYTEST) --torture 1

# A file's tests run in one process, so that what they share is made once.
PYTEST = .venv/bin/python -m pytest --numprocesses auto --dist loadfile

article: environment  ## Run the article's experiment beside the article's own script
	@.venv/bin/python -m benchmarks.studies.article

bench: environment .venv-bench/stamp  ## Train beside other frameworks: speed, time to target, memory (45 minutes)
	@.venv/bin/python -m benchmarks.frameworks

check: tools  ## Format check, lint, types, and a look at the workflows
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/zizmor --offline --quiet .github

sweep: environment  ## Try CELLS x WIDTHS x SEEDS as experiments of an epoch, JOBS at a time, and compare them
	@[ "$$(git rev-parse --is-shallow-repository)" != true ] || { echo "this clone is shallow, and DVC loses experiments in one: git fetch --unshallow" >&2; exit 1; }
	@.venv/bin/dvc repro --quiet targets
	@.venv/bin/dvc exp run --queue --set-param model.cell=$(CELLS) --set-param model.hidden_size=$(WIDTHS) \
		--set-param train.seed=$(SEEDS) --set-param train.epochs=1 --set-param train.threads=1
	@.venv/bin/dvc exp run --run-all --jobs $(JOBS)
	@.venv/bin/python -m quadrature compare --html comparison/index.html

# The grid: each list is one of DVC's choice sweeps. One thread an experiment, so that cores need not wait for cores.
CELLS ?= rnn,lstm,gru
WIDTHS ?= 16,32
SEEDS ?= 0,1,2
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)

verify: environment  ## Does dvc.lock belong to this code and these parameters? Needs no data
	@.venv/bin/python -m quadrature verify

gate: environment  ## Hold the metrics to the rules in gates.yaml
	@.venv/bin/python -m quadrature gate

format: tools  ## Format the code and mend what lint can
	@.venv/bin/ruff check --fix-only .
	@.venv/bin/ruff format .

lock: tools  ## Choose every version anew: pyproject.toml -> constraints.txt
	@.venv/bin/uv pip compile --quiet --universal --upgrade --python-version 3.11 --group dev \
		--custom-compile-command "make lock" --output-file constraints.txt pyproject.toml

audit: tools  ## Has a package in constraints.txt a known vulnerability? Asks a database on the network
	@.venv/bin/python .ci/audit.py

sbom: tools  ## List every package with its version for other tools (CycloneDX) -> sbom.json
	@PYTHONWARNINGS=ignore .venv/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file sbom.json constraints.txt

clean:  ## Remove .venv and every output that is not in git, but for DVC's cache
	@rm -rf .venv .venv-bench data models metrics/report.html

environment:  ## Make or renew .venv for the pipeline (the targets above do it by themselves)
	@$(CURRENT) || { $(MAKE) --no-print-directory able && "$$PYTHON" $(ALONE) $(MAKE) --no-print-directory .venv; }

tools: environment  ## Add to .venv what tests and checks need (as above)
	@[ -e .venv/tools.txt ] || .venv/bin/python $(ALONE) $(MAKE) --silent --no-print-directory .venv/tools.txt

# The shell asks for the folder's name itself: were the name a part of the command, it could be a command, too.
STAMP = { pwd -P; .venv/bin/python --version; sed -n '/^dependencies = /,/^]/p; /^dev = /,/^]/p' pyproject.toml; \
	cat constraints.txt; } 2>/dev/null
CURRENT = $(STAMP) | cmp -s - .venv/stamp

# Runs a command alone: another `make` in this folder waits until the command and all that it started have ended.
define RUN_ALONE
import fcntl, os, sys
try:
    file = os.open("Makefile", os.O_RDWR)
    os.set_inheritable(file, True)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Waiting for another make in this folder to end its set-up", flush=True)
    fcntl.flock(file, fcntl.LOCK_EX)
except OSError:
    pass  # the file may not be written, or its file system has no locks
os.execvp(sys.argv[1], sys.argv[1:])
endef
export RUN_ALONE
ALONE = -c "$$RUN_ALONE"

# Python reads the requirements for pip, which cannot take them from pyproject.toml without installing the project.
RUNTIME = ["project"]["dependencies"]
TOOLS = ["dependency-groups"]["dev"]
requirements = .venv/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))$(1), sep="\n")'

# Installs into an environment the requirements in a file, within constraints. pip warns of every package index that is
# configured and absent, a hundred lines that help nobody: its output goes to a log.
install = $(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	--requirement $(2) --constraint $(3) >$(1)/pip.log 2>&1 \
	|| { grep ^ERROR $(1)/pip.log >&2; echo "pip failed; its output is in $(1)/pip.log" >&2; exit 1; }

# On all cores, unlike pip. Where PYTHONDONTWRITEBYTECODE is set, as in many containers, each process would otherwise
# compile what it imports: a small run of the pipeline took 24 seconds that way, and takes 14.
compile = PYTHONDONTWRITEBYTECODE= $(1)/bin/python -m compileall -q -j 0 -x '/tests?/' $(1)/lib >/dev/null || true

# A stage's `python` is found on PATH. This file makes each program of .venv put .venv/bin there first, so that
# `.venv/bin/dvc repro`, an editor's DVC and a queue's workers run the stages here without activation.
#
# And DVC keeps what it knows of files with a library that unpickles what it finds, so that whoever can write there can
# run code: by default any user, below /var/tmp. Here its owner alone can; where that is someone else, it is the default.
#
# And DVC asks for the user's name and home folder, which a container's user may lack (docker run --user 12345).
define FIRST_ON_PATH
import os, pwd, sys
os.environ["PATH"] = os.path.join(sys.prefix, "bin") + os.pathsep + os.environ.get("PATH", os.defpath)
own = os.path.join(sys.prefix, "dvc")
if os.access(own, os.W_OK):
    os.environ.setdefault("DVC_SITE_CACHE_DIR", own)
try:
    pwd.getpwuid(os.getuid())
except KeyError:
    os.environ.setdefault("USER", str(os.getuid()))
    os.environ.setdefault("HOME", own)
endef
export FIRST_ON_PATH

able:
	@command -v git >/dev/null || { echo "git is missing; install it and run make again" >&2; exit 1; }
	@command -v "$$PYTHON" >/dev/null || { echo "$$PYTHON is missing; install Python 3.11 or newer, or say make PYTHON=..." >&2; exit 1; }
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$("$$PYTHON" --version) is too old; install Python 3.11 or newer, or say make PYTHON=..." >&2; exit 1; }
	@"$$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || { echo "$$PYTHON has no venv module; install it (Debian: apt install python3-venv)" >&2; exit 1; }
	@# pip writes the folder's name between double quotes into programs that a shell reads.
	@cd -P . && case $$PWD in *[\"\$$\`:\\]*|*[[:cntrl:]]*) echo 'the path of this folder has one of " $$ ` : \ or a line break in it; rename the folder' >&2; exit 1;; esac

.venv:
	@$(CURRENT) || $(MAKE) --no-print-directory .venv/renewed

.venv/renewed:
	@echo "Setting up .venv (a few minutes the first time)"
	@rm -rf .venv
	@"$$PYTHON" -m venv .venv
	@$(call requirements,$(RUNTIME)) >.venv/requirements.txt
	@$(call install,.venv,.venv/requirements.txt,constraints.txt)
	@$(call compile,.venv)
	@mkdir -m 700 .venv/dvc
	@.venv/bin/python -c 'import os, sysconfig; open(sysconfig.get_path("purelib") + "/first_on_path.py", "w").write(os.environ["FIRST_ON_PATH"])'
	@.venv/bin/python -c 'import sysconfig; open(sysconfig.get_path("purelib") + "/first_on_path.pth", "w").write("import first_on_path\n")'
	@$(STAMP) >.venv/stamp

.venv/tools.txt:
	@echo "Adding the development tools to .venv (a minute the first time)"
	@$(call requirements,$(TOOLS)) >.venv/tools.txt.part
	@$(call install,.venv,.venv/tools.txt.part,constraints.txt)
	@$(call compile,.venv)
	@mv .venv/tools.txt.part .venv/tools.txt

# What `make bench` trains beside lives in an environment of its own, with the interpreter that .venv has.
.venv-bench/stamp: benchmarks/frameworks/requirements-peers.txt benchmarks/frameworks/constraints-peers.txt | environment
	@echo "Setting up .venv-bench (a few minutes the first time)"
	@rm -rf .venv-bench
	@.venv/bin/python -m venv .venv-bench
	@$(call install,.venv-bench,benchmarks/frameworks/requirements-peers.txt,benchmarks/frameworks/constraints-peers.txt)
	@$(call compile,.venv-bench)
	@touch .venv-bench/stamp

.DEFAULT_GOAL := help
.PHONY: help repro quick test test-all article bench sweep check verify gate audit sbom format lock clean environment tools able .venv .venv/renewed

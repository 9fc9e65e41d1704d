# `make` lists the targets. Each one that runs code first creates .venv. It creates .venv again if one of its inputs
# changed: this directory, its own interpreter, the dependencies in pyproject.toml, or constraints.txt. PYTHON is the
# interpreter for a new .venv; to change it, run `make clean` first.
PYTHON ?= python3
export PYTHON

# With the first, Python finds no stage. With the second, DVC's own warnings stop it.
unexport PYTHONSAFEPATH PYTHONWARNINGS

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

# DVC must be make's own child. A `||` would put a shell between them, which does not pass signals on.
repro: environment  ## Run the pipeline: the stages whose code, parameters or data changed
	@.venv/bin/python -m quadrature heal --quiet || [ $$? -eq 1 ]  # it found nothing to fix
	@.venv/bin/dvc repro
	@.venv/bin/python -m quadrature show

quick-start: environment  ## Run the whole pipeline on few windows, as the experiment quick-start
	@.venv/bin/dvc exp run --temp --force --name quick-start $(FEW)
	@.venv/bin/python -m quadrature compare HEAD quick-start

FEW = --set-param generate.windows.train=16384 --set-param generate.windows.validation=1024 \
	--set-param generate.windows.test=2048 --set-param train.epochs=6

quick: tools  ## Run the fast unit tests, while editing
	@$(PYTEST) -m "not slow and not nightly"

test: tools  ## Run the tests of a change: every promise at least once
	@$(PYTEST) -m "not nightly"

test-all: tools  ## Run every test in full: full-size trainings, all of tests/torture (hours)
	@$(PYTEST) --torture 1

# A file's tests run in one process, so that shared fixtures are made once.
PYTEST = .venv/bin/python -m pytest --numprocesses auto --dist loadfile

article: environment  ## Run the article's experiment beside the article's own script
	@.venv/bin/python -m benchmarks.studies.article

bench: environment .venv-bench/stamp  ## Train beside other frameworks: speed, time to target, memory (over an hour)
	@.venv/bin/python -m benchmarks.frameworks

check: tools  ## Check format, lint, types and the workflows
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/zizmor --offline --quiet .github

sweep: environment  ## Run CELLS x WIDTHS x SEEDS as experiments of one epoch, JOBS at a time, and compare them
	@.venv/bin/python -m quadrature sweep --jobs $(JOBS) model.cell=$(CELLS) model.hidden_size=$(WIDTHS) \
		train.seed=$(SEEDS) train.epochs=1 train.threads=1

# The grid: each list is a choice sweep of DVC. Each experiment has one thread, so no core waits for another.
CELLS ?= rnn,lstm,gru
WIDTHS ?= 16,32
SEEDS ?= 0,1,2
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)

verify: environment  ## Check that dvc.lock belongs to this code and these parameters; needs no data
	@.venv/bin/python -m quadrature verify

gate: environment  ## Check the metrics against the rules in gates.yaml
	@.venv/bin/python -m quadrature gate

format: tools  ## Format the code and fix lint errors where possible
	@.venv/bin/ruff check --fix-only .
	@.venv/bin/ruff format .

lock: tools  ## Resolve all versions again: pyproject.toml -> constraints.txt
	@.venv/bin/uv pip compile --quiet --universal --upgrade --python-version 3.11 --extra pipeline --group dev \
		--custom-compile-command "make lock" --output-file constraints.txt pyproject.toml

audit: tools  ## Check constraints.txt for known vulnerabilities in a database on the network
	@.venv/bin/python .ci/audit.py

sbom: tools  ## List every package with its version for other tools (CycloneDX) -> sbom.json
	@PYTHONWARNINGS=ignore .venv/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file sbom.json constraints.txt

clean:  ## Remove .venv and every output that is not in git, except DVC's cache
	@rm -rf .venv .venv-bench data/windows data/targets data/digests data/narrow data/checked.txt data/*.parquet models metrics/*.html

environment:  ## Create or update .venv for the pipeline (the targets above do it by themselves)
	@$(CURRENT) || { $(MAKE) --no-print-directory able && "$$PYTHON" $(ALONE) $(MAKE) --no-print-directory .venv; }

tools: environment  ## Add the development tools to .venv (as above)
	@[ -e .venv/tools.txt ] || .venv/bin/python $(ALONE) $(MAKE) --silent --no-print-directory .venv/tools.txt

# The shell asks for the folder's name itself: a name inside the command could run as a command.
STAMP = { pwd -P; .venv/bin/python --version; \
	sed -n '/^dependencies = /,/^]/p; /^pipeline = /,/^]/p; /^dev = /,/^]/p' pyproject.toml; \
	cat constraints.txt; } 2>/dev/null
CURRENT = $(STAMP) | cmp -s - .venv/stamp

# Runs a command alone: another `make` in this folder waits until the command and all its child processes have ended.
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
RUNTIME = all["project"]["dependencies"] + all["project"]["optional-dependencies"]["pipeline"]
TOOLS = all["dependency-groups"]["dev"]
requirements = .venv/bin/python -c 'import tomllib; all = tomllib.load(open("pyproject.toml", "rb")); print(*$(1), sep="\n")'

# Installs the requirements of a file into an environment, within constraints. pip prints a hundred useless lines about
# configured package indexes that are absent, so its output goes to a log.
install = $(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	--requirement $(2) --constraint $(3) >$(1)/pip.log 2>&1 \
	|| { grep ^ERROR $(1)/pip.log >&2; echo "pip failed; its output is in $(1)/pip.log" >&2; exit 1; }

# Compiles on all cores, unlike pip. Many containers set PYTHONDONTWRITEBYTECODE, with which each process would compile its
# imports again: a small run of the pipeline took 24 seconds that way, and takes 14.
compile = PYTHONDONTWRITEBYTECODE= $(1)/bin/python -m compileall -q -j 0 -x '/tests?/' $(1)/lib >/dev/null || true

# A stage's `python` comes from PATH. This file makes each program of .venv put .venv/bin first on PATH. Then
# `.venv/bin/dvc repro`, an editor's DVC and a queue's workers run the stages here without activation.
#
# DVC's file records are in a folder whose files it unpickles, so anyone who can write there can run code. By default any
# user can, below /var/tmp. In .venv/dvc only the owner can; another user of this .venv gets the default folder.
#
# DVC asks for the user's name and home folder, which a container's user may lack (docker run --user 12345).
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

# The frameworks of `make bench` have a separate environment, with the interpreter of .venv.
.venv-bench/stamp: benchmarks/frameworks/requirements-peers.txt benchmarks/frameworks/constraints-peers.txt | environment
	@echo "Setting up .venv-bench (a few minutes the first time)"
	@rm -rf .venv-bench
	@.venv/bin/python -m venv .venv-bench
	@$(call install,.venv-bench,benchmarks/frameworks/requirements-peers.txt,benchmarks/frameworks/constraints-peers.txt)
	@$(call compile,.venv-bench)
	@touch .venv-bench/stamp

.DEFAULT_GOAL := help
.PHONY: help repro quick test test-all article bench sweep check verify gate audit sbom format lock clean environment tools able .venv .venv/renewed

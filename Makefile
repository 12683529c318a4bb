# One command for each thing that one does with this project; `make` alone lists them. Each target first sets up what it
# needs, on a Debian 12 machine with nothing prepared; what is set up already costs nothing the second time. `./run` does
# the same where there is no make yet.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Debian's CPython is built with profile-guided optimisation and is the one that figures are taken with.
PYTHON ?= $(shell [ -x /usr/bin/python3.11 ] && echo /usr/bin/python3.11 || command -v python3 || echo /usr/bin/python3.11)
BIN := .venv/bin
READY := .venv/.ready
# A package may be half there.
FILLING := .venv/.filling
# A hung test says where it hangs, and ends the run.
PYTEST := $(BIN)/python -m pytest -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true
# So many processes share the tests, a file each at a time.
JOBS ?= 2
TESTS := $(PYTEST) --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
ARGS ?=

PIP_TOOLS := pip-tools==7.6.2
# Nothing of the machine that makes a lock gets into it: no index, no option, no path.
COMPILE := pip-compile --quiet --no-config --generate-hashes --allow-unsafe --strip-extras --all-build-deps \
	--annotation-style=line --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 14
	echo
	echo "ARGS='…' is passed on to demo, world, test, unit, system, simulate, documents, fuzz, kills, endure, drbd-drill, newer-python, pages and bench; PYTHON=… chooses the interpreter (3.11 or newer)."

.PHONY: setup
setup: $(READY) ## make .venv with everything at its locked version, and SoftHSM where it is missing
	@echo "ready: $$($(BIN)/python -V), $(BIN)/fps-gateway"

.PHONY: demo
demo: $(READY) ## less than a minute of payments through two data centres on this machine, with all that may go wrong
	@exec $(BIN)/python -m loadtest demo --last var/demo $(ARGS)

.PHONY: test
test: $(READY) filesystems shells machines ## lint, types and every test; goes on to the end and fails when any of them did
	@failed=()
	$(MAKE) --no-print-directory lint || failed+=(lint)
	$(MAKE) --no-print-directory types || failed+=(types)
	$(MAKE) --no-print-directory audit || failed+=(audit)
	echo "== tests"
	$(TESTS) $(ARGS) || failed+=(tests)
	[ $${#failed[@]} -eq 0 ] || { echo "failed: $${failed[*]}" >&2; exit 1; }

# What says most in a minute: the laws and stories, bytes and messages, settings, and what is held by reading the source.
QUICK := tests/test_layout.py tests/test_readme.py tests/payments/test_laws.py tests/payments/test_inbound.py tests/payments/test_outbound*.py \
	tests/payments/test_standin.py tests/scheme/test_keyring.py tests/config tests/machine/test_arguments.py tests/test_exitcodes.py tests/engine/test_engine.py \
	tests/journal/test_record.py tests/journal/test_recovery.py tests/journal/test_corrupt.py tests/journal/test_formats.py tests/wire tests/processor/test_messages.py \
	tests/hub/test_session*.py tests/frozen tests/test_project.py
.PHONY: check
check: $(READY) ## before each commit, in less than a minute: lint, format, types, layout and the tests that say most
	@failed=()
	$(MAKE) --no-print-directory lint || failed+=(lint)
	$(MAKE) --no-print-directory types || failed+=(types)
	$(MAKE) --no-print-directory audit || failed+=(audit)
	echo "== quick tests"
	$(TESTS) -m "not system" $(QUICK) $(ARGS) || failed+=(tests)
	[ $${#failed[@]} -eq 0 ] || { echo "failed: $${failed[*]}" >&2; exit 1; }

.PHONY: lint
lint: $(READY) ## ruff: rules and format
	@echo "== lint"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(READY) ## mypy, strict
	@echo "== types"
	$(BIN)/mypy

.PHONY: audit
audit: $(READY) ## the locks: published vulnerabilities by supply/advisories.json, and licences; without a network
	@echo "== audit"
	$(BIN)/python -m supply audit

.PHONY: advisories
advisories: $(READY) ## ask OSV what is published by now about each locked package, and write supply/advisories.json
	@$(BIN)/python -m supply renew
	git diff --stat -- supply/advisories.json || true

.PHONY: unit
unit: $(READY) filesystems machines ## the tests that need no other process
	@$(TESTS) -m "not system" $(ARGS)

.PHONY: system
system: $(READY) filesystems shells machines ## the tests with real processes, sockets and SoftHSM
	@$(TESTS) -m system $(ARGS)

.PHONY: frozen
frozen: $(READY) ## write the lists of names and numbers that others rely on (tests/frozen) anew, after an addition
	@$(BIN)/python -m tests.frozen --write
	git diff --stat -- tests/frozen || true

.PHONY: simulate
simulate: $(READY) ## run the whole system on a mock clock, from seeds that nobody tried, for a minute (ARGS='--seed 7' replays)
	@$(BIN)/python -m tests.simulation $(if $(ARGS),$(ARGS),--random --for 60)

.PHONY: documents
documents: $(READY) ## do what every document says, in a fresh copy set up from nothing, blocks that take minutes included
	@DOCUMENTS_WHOLE=1 $(PYTEST) tests/documents $(ARGS)

.PHONY: fuzz
fuzz: $(READY) ## look for inputs that break something (ARGS='--target frame --seconds 600'; without, all for 45 s)
	@$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: kills
kills: $(READY) ## kill and stop real processes at random moments, under load, for two minutes; the ledger judges
	@$(BIN)/python -m loadtest kills --duration 120 $(ARGS)

.PHONY: endure
endure: $(READY) ## a million payments in one go, with faults, half an hour and some gigabytes: nothing grows
	@$(BIN)/python -m loadtest endure $(ARGS)

.PHONY: bare
bare: $(READY) machines ## the README's two commands on a Debian where nothing is installed, as five kinds of people, 15 minutes
	@$(BIN)/python -m tests.bare $(ARGS)

.PHONY: newer-python
newer-python: $(READY) machines ## the tests on a Debian 13 with its Python 3.13, those with containers excepted, half an hour
	@$(BIN)/python -m tests.bare whole --debian trixie --pytest="$${ARGS-}"

.PHONY: demos
demos: $(READY) ## fifty demos whose parts start, end and reply late, each by a time that is drawn
	@$(BIN)/python -m tests.demos $(ARGS)

.PHONY: drbd-drill
drbd-drill: $(READY) guests ## lose a server, disks and the network under real DRBD, in virtual machines, five to fifteen minutes
	@$(BIN)/python -m tests.drill $(ARGS)

.PHONY: pages
pages: $(READY) filesystems machines ## from a fault to its page, by a real Prometheus: median and worst of five, twenty minutes
	@$(BIN)/python -m tests.paging $(ARGS)

.PHONY: bench
bench: $(READY) ## measure: the pieces one by one, then the whole path, the gateway on a core of its own
	@for piece in tests/benchmarks/bench_*.py; do
		echo "== $$piece"
		$(BIN)/python "$$piece"
	done
	cores=(); [ "$$(nproc)" -lt 2 ] || cores=(--gateway-cpu 0 --workers-cpu 1 --others-cpu 1)
	echo "== the whole path at a rate"
	$(BIN)/python -m loadtest run --rate 1500 $${cores[@]+"$${cores[@]}"} $(ARGS)
	echo "== payments that leave, at a rate"
	$(BIN)/python -m loadtest run --outbound 1000 $${cores[@]+"$${cores[@]}"} $(ARGS)
	echo "== the highest rate that is kept up, of payments that come, and of those that leave"
	$(BIN)/python -m loadtest run --saturate $${cores[@]+"$${cores[@]}"} $(ARGS)
	$(BIN)/python -m loadtest run --outbound 1000 --saturate $${cores[@]+"$${cores[@]}"} $(ARGS)

.PHONY: world
world: $(READY) machines wheels ## both data centres in containers on one machine, with hub and processor; the ledger judges (ARGS=--stay)
	@$(BIN)/python -m compose.world run $(ARGS)

.PHONY: world-down
world-down: $(READY) ## end what a killed `make world` has left
	@$(BIN)/python -m compose.world down

.PHONY: docs
docs: $(READY) ## build the documents into dist/docs, without a network; a warning is an error
	@$(BIN)/python -m sphinx -q -W --keep-going --fresh-env -b html docs dist/docs
	echo "dist/docs/index.html"

.PHONY: picture
picture: $(READY) ## run the demo and draw what it prints, for README and tutorial (docs/_static/demo.svg)
	@$(BIN)/python -m docs.picture $(ARGS)

.PHONY: man
man: $(READY) ## make the manual pages, dist/man/fps-gateway.1 and fps-gateway.toml.5
	@$(BIN)/python -m sphinx -q -W --keep-going --fresh-env -b man -d dist/man.doctrees docs dist/man
	echo "dist/man/fps-gateway.1, dist/man/fps-gateway.toml.5"

# The gateway's own wheel with its bill of materials, the same bytes wherever and whenever they are made: of files alone (what lies about from an earlier build
# is not in it), with the modes of everybody and the time of the release.
define build-wheel
work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT
cp -R LICENSE README.md pyproject.toml gateway "$$work/"
find "$$work" -name __pycache__ -prune -exec rm -rf {} +
chmod -R u=rwX,go=rX "$$work"
export SOURCE_DATE_EPOCH="$${SOURCE_DATE_EPOCH:-$$(date -u -d "$$($(BIN)/python -c 'import gateway; print(gateway.__released__)')" +%s)}"
umask 022
$(BIN)/python -m pip wheel -qq --no-index --no-deps --no-build-isolation --wheel-dir "$(1)" "$$work"
$(BIN)/python -m supply sbom "$(1)"/fps_gateway-*.whl
endef

DIST ?= dist
.PHONY: dist
dist: $(READY) ## build the gateway's wheel into dist, and its bill of materials (CycloneDX), the same bytes each time
	@mkdir -p "$(DIST)"
	rm -f "$(DIST)"/fps_gateway-*
	$(call build-wheel,$(DIST))
	cd "$(DIST)" && sha256sum fps_gateway-*

WHEELS ?= dist/wheels
.PHONY: wheels
wheels: $(READY) ## what a server without a network installs: every locked package and the gateway's own, into dist/wheels
	@mkdir -p "$(WHEELS)"
	cmp -s requirements.lock "$(WHEELS)/requirements.lock" || {
		rm -f "$(WHEELS)"/*.whl
		$(BIN)/python -m pip download -qq --require-hashes --only-binary :all: --dest "$(WHEELS)" -r requirements.lock
		cp requirements.lock "$(WHEELS)/"
	}
	rm -f "$(WHEELS)"/fps_gateway-*
	$(call build-wheel,$(WHEELS))

.PHONY: clean
clean: ## remove .venv and everything that was made (not var/: a journal may lie there)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis ./*.egg-info build dist
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# --- set-up

# What the machine must have. Asked each time, because it is the machine's and not ours; installed only where missing.
.PHONY: machine
machine:
	@missing=()
	[ -x "$$(command -v "$(PYTHON)")" ] || missing+=(python3)
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
	command -v softhsm2-util >/dev/null || missing+=(softhsm2)
	[ $${#missing[@]} -eq 0 ] || ./run install "$${missing[@]}"
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
		{ echo "$(PYTHON) is older than 3.11: choose another with PYTHON=…" >&2; exit 1; }

# What only tests need, as root: `command:package` for each. What cannot be had fails nothing: those tests are skipped and
# say so.
define get-for-tests
@[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
export PATH="$$PATH:/usr/sbin:/sbin"
wanted=()
for pair in $(1); do
	command -v "$${pair%%:*}" >/dev/null || wanted+=("$${pair##*:}")
done
[ $${#wanted[@]} -gt 0 ] || exit 0
./run install "$${wanted[@]}" || echo "not to be had: $${wanted[*]}; the tests that need them are skipped"
endef

# Tests mount file systems of their own, where root runs them, and have DRBD's own tools read the resource files.
.PHONY: filesystems
filesystems: machine
	$(call get-for-tests,mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs mount:mount drbdadm:drbd-utils)

# They have the real shells complete a command line.
.PHONY: shells
shells: machine
	$(call get-for-tests,zsh:zsh fish:fish)

# They run a Docker engine of their own, too (tests/machines), have systemd and Prometheus judge what is theirs, and build a
# PKCS#11 library that fails on order.
.PHONY: machines
machines: machine
	$(call get-for-tests,gcc:gcc gcc:libc6-dev dockerd:docker.io docker:docker.io debootstrap:debootstrap ip:iproute2 iptables:iptables \
		setpriv:util-linux systemd-analyze:systemd promtool:prometheus)

# Virtual machines that boot from a Debian of their own.
.PHONY: guests
guests: machine
	$(call get-for-tests,qemu-system-x86_64:qemu-system-x86 debootstrap:debootstrap mke2fs:e2fsprogs ip:iproute2 \
		setpriv:util-linux)

# Remade when another interpreter is asked for, or when making or filling it was interrupted; its time changes only then.
.venv/pyvenv.cfg: machine
	@[ "$$(readlink -f $(BIN)/python)" = "$$(readlink -f "$$(command -v "$(PYTHON)")")" ] &&
		[ ! -e $(FILLING) ] && $(BIN)/python -c 'import pip' 2>/dev/null && exit 0
	echo "making .venv with $$("$(PYTHON)" -V)"
	"$(PYTHON)" -m venv --clear .venv || { rm -rf .venv; exit 1; }

# Wheels only: a source distribution would bring build tools that no hash pins. The project itself is built by the locked
# setuptools, offline.
$(READY): .venv/pyvenv.cfg requirements-dev.lock pyproject.toml
	@echo "installing $$(grep -c '^[a-z].*==' requirements-dev.lock) packages from requirements-dev.lock into .venv"
	export PIP_DISABLE_PIP_VERSION_CHECK=1
	touch $(FILLING)
	$(BIN)/python -m pip install -qq --require-hashes --only-binary :all: -r requirements-dev.lock
	$(BIN)/python -m pip install -qq --no-index --no-deps --no-build-isolation --editable .
	# the mock world and what makes keys are in no wheel: they run from here, wherever they are started
	echo "$$PWD" >"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/fps-checkout.pth"
	rm $(FILLING)
	touch $@

.PHONY: lock
lock: machine ## pin every package anew where pyproject.toml asks for it (ARGS=--upgrade: to the newest versions)
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT
	"$(PYTHON)" -m venv "$$work/venv"
	"$$work/venv/bin/python" -m pip install -qq $(PIP_TOOLS)
	compile() {
		"$$work/venv/bin/"$(COMPILE) $(ARGS) "$${@:2}" --output-file "$$1" pyproject.toml 2>"$$work/said" || { cat "$$work/said" >&2; exit 1; }
		{ echo "# Made by \`make lock\` out of pyproject.toml: change that, not this."; grep -v '^# Made by' "$$1"; } >"$$work/lock"
		cat "$$work/lock" >"$$1"
	}
	compile requirements.lock
	compile requirements-dev.lock --extra dev --constraint requirements.lock
	if grep -nE '://|^-|(^| )/' requirements.lock requirements-dev.lock; then echo "a lock names a host or holds an option" >&2; exit 1; fi

# netssmd's recipes. `make help` lists them. Everything is built once, in the release profile, so that candle is not
# compiled a second time for tests.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# A shell that was open when rustup was installed does not have rustup's folder on its PATH.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

CARGO      ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BINARY     := $(TARGET_DIR)/release/netssmd

# Where `make install` puts files. DESTDIR is for packagers: nothing outside it is touched.
DESTDIR    ?=
PREFIX     ?= /usr
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system

# The captures that some tests read are outside the repository, see CONTRIBUTING.md.
ifeq ($(NETSSMD_DATA),)
ifneq ($(wildcard ../shared/data/MANIFEST.tsv),)
export NETSSMD_DATA := $(abspath ../shared/data)
endif
endif

# In CI a test that cannot run fails. It is not skipped.
ifeq ($(CI),true)
export NETSSMD_REQUIRE_ALL := 1
endif

# Where `make rivals` installs llama.cpp and PyTorch.
RIVALS ?= $(TARGET_DIR)/rivals

.PHONY: help build demo test check check-cuda gpu-kit bench rivals golden install clean-demo

help: ## list the recipes
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

build: ## install what the build needs, then build target/release/netssmd
	tests/tools/deps.sh build
	$(CARGO) build --release --locked -p netssmd

demo: ## sessions from the shipped model over a veth pair and into captures, in under a minute
	tests/tools/deps.sh demo
	$(CARGO) build --release --locked -p netssmd
	tests/tools/demo.sh $(BINARY)

test: ## install the IDS tools, build, run every test of the workspace
	tests/tools/deps.sh test
# With --tests the program is built with the features that the tests' dependencies turn on. So candle is compiled once,
# and not once for each set of features.
	$(CARGO) build --release --locked --workspace --bins --tests
	$(CARGO) test --release --locked --workspace --no-fail-fast

check: ## formatting, links and widths of documents, clippy and rustdoc as errors, licences where cargo-deny is there
	tests/tools/deps.sh check
	python3 tests/tools/links.py
	python3 tests/tools/prose.py
	python3 tests/tools/imports.py
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --workspace --no-deps
	for script in .ci/run tests/tools/*.sh tests/gpu/*.sh; do bash -n "$$script"; done
	if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo "check: cargo-deny is not installed, so licences and advisories were not checked"; fi

check-cuda: ## compile the GPU path, where a CUDA compiler is found (no GPU is needed for that)
	nvcc=$$(command -v nvcc || ls "$${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" 2>/dev/null || true); \
	if [[ -z $$nvcc ]]; then echo "check-cuda: SKIPPED: no nvcc on PATH nor under CUDA_HOME"; \
	else $(CARGO) check --release --locked -p netssmd --features cuda; fi

gpu-kit: ## pack what a GPU machine needs to check, time and train this tree: gpu-kit/run.sh (CORPUS=DIR to train)
	tests/gpu/pack.sh gpu-kit $(CORPUS)

bench: ## the numbers of the README, each beside its rival where there is one
	tests/tools/deps.sh test
	$(CARGO) build --release --locked -p netssmd
	tests/tools/bench.sh $(BINARY)

rivals: ## llama.cpp and PyTorch beside netssmd in one run; installs both (some GB) into RIVALS=folder
	$(CARGO) build --release --locked -p netssmd
	python3 tests/tools/rivals.py $(BINARY) $(RIVALS)

golden: ## record the golden cases anew (look at the difference before you commit it)
	$(CARGO) build --release --locked
	NETSSMD_BLESS=1 $(CARGO) test --release --locked -p netssm-tests --test golden
	git --no-pager diff --stat -- tests/cases

install: ## install binary, model, profiles, units and documents: DESTDIR= PREFIX=/usr SYSCONFDIR=/etc
	@test -x $(BINARY) || { echo "install: $(BINARY) is not there: run make build first" >&2; exit 1; }
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(UNITDIR) \
	    $(DESTDIR)$(PREFIX)/lib/sysusers.d $(DESTDIR)$(PREFIX)/lib/tmpfiles.d \
	    $(DESTDIR)$(SYSCONFDIR)/netssmd $(DESTDIR)$(PREFIX)/share/netssmd/models \
	    $(DESTDIR)$(PREFIX)/share/doc/netssmd/adr $(DESTDIR)$(PREFIX)/share/licenses/netssmd
	install -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/netssmd
	for unit in systemd/*.service; do \
	    sed 's|/usr/bin/netssmd|$(PREFIX)/bin/netssmd|g; s|/etc/netssmd|$(SYSCONFDIR)/netssmd|g' "$$unit" \
	        >"$(DESTDIR)$(UNITDIR)/$${unit##*/}"; \
	    chmod 644 "$(DESTDIR)$(UNITDIR)/$${unit##*/}"; done
	install -m 644 systemd/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/netssmd.conf
	install -m 644 systemd/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/netssmd.conf
	@# A profile that the operator has edited is never overwritten: the new one lands beside it.
	for profile in configs/*.toml; do \
	    to="$(DESTDIR)$(SYSCONFDIR)/netssmd/$${profile##*/}"; \
	    if [[ -e $$to ]] && ! cmp -s "$$profile" "$$to"; then \
	        echo "install: $$to was edited; the new one is $$to.new"; to="$$to.new"; fi; \
	    install -m 644 "$$profile" "$$to"; done
	cp -R --no-preserve=ownership configs/models/. $(DESTDIR)$(PREFIX)/share/netssmd/models/
	install -m 644 README.md CHANGELOG.md docs/*.md $(DESTDIR)$(PREFIX)/share/doc/netssmd/
	install -m 644 docs/adr/*.md $(DESTDIR)$(PREFIX)/share/doc/netssmd/adr/
	install -m 644 LICENSE LICENSE-APACHE LICENSE-MIT $(DESTDIR)$(PREFIX)/share/licenses/netssmd/

clean-demo: ## remove what the demo left in demo-out/
	rm -rf demo-out

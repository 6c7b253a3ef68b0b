# The front door: everything is built by CMake (CMakePresets.json), and this
# file only says in which order. `make help` lists the targets.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pith
MODEL := $(CACHE)/models/all-MiniLM-L6-v2
TEST_PYTHON := $(CACHE)/test-python/bin/python
JOBS := $(shell nproc)
BIN := build/release/bin

# What quickstart indexes and asks.
export PITH_QUICKSTART_DIR ?= docs
QUESTION := how does pith find passages without storing embeddings

# Compiler results are shared by checkouts in different folders.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1

.DEFAULT_GOAL := help
.PHONY: help deps model test-python quickstart test bench format tidy clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*  ## ' Makefile | sed -E 's/^([a-z-]+):.*  ## /\1\t/' | expand -t 14

deps:  ## install the Debian packages and protos that the build needs
	@deploy/setup-debian.sh
	@deploy/fetch-googleapis.sh

model: deps  ## fetch the model all-MiniLM-L6-v2
	@deploy/fetch-model.sh

test-python: deps
	@deploy/setup-test-python.sh || \
	  echo 'test-python: not set up; the tests that need it are skipped by name'

quickstart: model  ## build, index a folder (PITH_QUICKSTART_DIR) and ask a question
	cmake --preset release
	cmake --build --preset release -j $(JOBS) --target pithd pith pith-embedder
	$(BIN)/pith add "$$PITH_QUICKSTART_DIR"
	$(BIN)/pith search "$(QUESTION)"

test: model test-python  ## build the dev preset and run all tests
	python="$(TEST_PYTHON)"; test -x "$$python" || python=python3; \
	  cmake --preset dev -DPITH_PYTHON="$$python"
	cmake --build --preset dev -j $(JOBS)
	PITH_MODEL="$(MODEL)" ctest --preset dev -j $(JOBS) --timeout 300

bench: model  ## build the benchmarks into build/release/bin
	cmake --preset release
	cmake --build --preset release -j $(JOBS) --target benchmarks pithd pith-embedder pith-embedder-torch
	@echo 'run for example: PITH_MODEL="$(MODEL)" $(BIN)/quality_bench --data cranfield'

format:  ## format the C++ sources
	@deploy/setup-debian.sh --lint
	git ls-files -z --cached --others --exclude-standard '*.cc' '*.h' | \
	  xargs -0 clang-format-14 -i

tidy: deps  ## build with clang-tidy and thread-safety analysis
	@deploy/setup-debian.sh --lint
	cmake --preset tidy
	cmake --build --preset tidy -j $(JOBS)

clean:  ## remove the build folders
	rm -rf build

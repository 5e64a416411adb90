# kdns: make run, make test. Python 3.11 or newer is all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HELM ?= helm
DEPLOY ?= deploy

.PHONY: run test lint check bench bench-live chart manifests always clean
.DEFAULT_GOAL := run

run: $(VENV)/run
	@echo 'Serving examples/ on 127.0.0.1:1053; Ctrl-C ends it. Try:'
	@echo '  dig @127.0.0.1 -p 1053 storefront.shop.svc.cluster.local'
	@echo '  dig @127.0.0.1 -p 1053 _postgres._tcp.db.data.svc.cluster.local SRV'
	@echo '  dig @127.0.0.1 -p 1053 db-0.db.data.svc.cluster.local'
	@echo '  dig @127.0.0.1 -p 1053 -x 10.96.0.10'
	@exec $(BIN)/kdns --manifests examples

test: lint
	$(BIN)/pytest

lint: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/dev
	$(BIN)/python -m bench

bench-live: $(VENV)/dev
	$(BIN)/python -m bench.live

# Needs helm, 3.14 or newer, as manifests does.
chart:
	$(HELM) lint --strict helm/kdns
	$(HELM) package helm/kdns --destination dist

# For those without Helm: the chart's objects, less the labels that are Helm's.
manifests: $(patsubst helm/deploy/%,$(DEPLOY)/%,$(wildcard helm/deploy/*.yaml))

$(DEPLOY)/%.yaml: helm/deploy/%.yaml always
	@mkdir -p $(DEPLOY)
	@$(HELM) template kdns helm/kdns --namespace kube-system --values $< > $@.rendered
	@sed -n '/^#/p' $< > $@
	@sed '/^ *app.kubernetes.io\/managed-by: /d; /^ *helm.sh\/chart: /d; /^# Source: /d' $@.rendered >> $@
	@rm $@.rendered
	@echo $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis bench/out

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(VENV)/run $@

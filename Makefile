# kdns: make run, make test. Python 3.11 or newer is all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HELM ?= helm
DEPLOY ?= deploy
RELEASE := build/release
RUNTIME := build/runtime

.PHONY: run test lint check bench bench-live chart manifests always clean \
	image image-test lock dist sbom notices
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

# Release: the image, what is uploaded, and what goes with both.
BUILDER ?= buildah
IMAGE ?= kdns:$(VERSION)
BASE ?= python:3.13-slim
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' kdns/__init__.py)
# The last commit's, so that the same commit makes the same files.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# For another architecture: make image BUILD_FLAGS='--platform linux/arm64'; BUILDER=docker does too.
image:
	$(BUILDER) build $(if $(findstring buildah,$(BUILDER)),--format docker --timestamp $(SOURCE_DATE_EPOCH)) \
		--build-arg BASE=$(BASE) --build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
		$(BUILD_FLAGS) --tag $(IMAGE) .

# As root, with buildah and debootstrap; packages come from Debian and PyPI, and no image does.
image-test: $(VENV)/dev
	KDNS_IMAGE_TEST=1 $(BIN)/pytest tests/image

# What is locked, as new as pyproject.toml and image/*.in let it be.
LOCK = $(RELEASE)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --custom-compile-command 'make lock'
lock: $(RELEASE)/made
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) image/build.in -o image/build.lock
	$(LOCK) image/release.in -o image/release.lock

dist: $(RELEASE)/made
	$(RELEASE)/bin/python -m build --no-isolation --outdir dist .

sbom: $(RUNTIME)/made
	@mkdir -p dist
	@sed 's/^dynamic = .*/version = "$(VERSION)"/' pyproject.toml > build/pyproject.toml
	$(RELEASE)/bin/cyclonedx-py environment --pyproject build/pyproject.toml --output-reproducible \
		--output-file dist/kdns-$(VERSION).cdx.json $(RUNTIME)

notices: $(RUNTIME)/made
	@mkdir -p dist
	$(RUNTIME)/bin/python image/notices.py > dist/NOTICES

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

$(RELEASE)/made: image/release.lock
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# What the image has, and not what a developer has.
$(RUNTIME)/made: requirements.lock $(RELEASE)/made dist
	$(PYTHON) -m venv --without-pip $(RUNTIME)
	$(RELEASE)/bin/pip --python $(RUNTIME)/bin/python install --quiet --require-hashes -r $<
	$(RELEASE)/bin/pip --python $(RUNTIME)/bin/python install --quiet --no-deps --force-reinstall \
		dist/kdns-$(VERSION)-py3-none-any.whl
	@touch $@

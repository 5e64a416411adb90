# Debian with Python 3.11 or newer and its venv; pin it by digest for builds that are to be the same.
ARG BASE=python:3.13-slim
FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all: PIP_REQUIRE_HASHES=1
# iptables is for nodes whose kernel has no nftables tables with owners (Linux 5.12).
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils ca-certificates iptables

WORKDIR /src
COPY requirements.lock image/build.lock ./
RUN python3 -m venv /build \
 && /build/bin/pip install --requirement build.lock \
 && python3 -m venv --without-pip /opt/kdns \
 && /build/bin/pip --python /opt/kdns/bin/python install --no-compile --requirement requirements.lock \
 && strip --strip-debug /opt/kdns/lib/python3*/site-packages/uvloop/*.so

COPY pyproject.toml README.md LICENSE ./
COPY kdns kdns
RUN PIP_REQUIRE_HASHES=0 PIP_ONLY_BINARY= \
    /build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /wheel . \
 && PIP_REQUIRE_HASHES=0 \
    /build/bin/pip --python /opt/kdns/bin/python install --no-compile --no-deps --no-index --find-links /wheel kdns

COPY image/rootfs.py image/notices.py ./
ARG SOURCE_DATE_EPOCH=0
RUN /opt/kdns/bin/python rootfs.py /rootfs

# No shell, no pip, no compiler: what the build stage picked, and nothing that a base would bring.
FROM scratch
COPY --from=build /rootfs /
ENV PATH=/opt/kdns/bin:/usr/sbin:/usr/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# The node-local role needs user 0, as NodeLocal DNSCache does.
USER 65532:65532
EXPOSE 53/udp 53/tcp
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["/opt/kdns/bin/python", "-m", "kdns.probe"]
ENTRYPOINT ["/kdns"]

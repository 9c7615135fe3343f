# The locked environment and the clone. docker build --tag satbench .
# The digest is of the index of all platforms: the same base for ever. For later security fixes:
# --build-arg BASE=python:3.11-slim-bookworm
ARG BASE=python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
FROM ${BASE}

# A CPU or a CUDA build of torch, as for `make setup`.
ARG TORCH=torch==2.13.0

# Compilers for the few packages without a wheel, git for the version in run records. Versions are
# not pinned: Debian removes the old ones, and nothing of them is in a result.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential git make \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/satbench
# The lock alone first: a change of the code does not install everything again.
COPY requirements.lock requirements-build.lock pyproject.toml ./
RUN python -m venv .venv \
 && .venv/bin/pip install --no-cache-dir "$TORCH" \
 && .venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements-build.lock \
 && .venv/bin/pip install --no-cache-dir --require-hashes --no-deps --no-build-isolation -r requirements.lock
COPY . .
RUN .venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
 && touch .venv/.ready

# Models are programs of others: nothing here runs as root. Results go to mounted folders, which
# the user that is given by --user owns.
RUN useradd --create-home --uid 1000 satbench && mkdir -p results reports/out \
 && chown -R satbench results reports/out
USER 1000

ENV PATH=/opt/satbench/.venv/bin:$PATH
CMD ["satbench", "--help"]

# The locked environment and the clone. docker build --tag satbench .
FROM python:3.11-slim-bookworm

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
COPY requirements.lock pyproject.toml ./
RUN python -m venv .venv \
 && .venv/bin/pip install --no-cache-dir "$TORCH" \
 && .venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements.lock
COPY . .
RUN .venv/bin/pip install --no-cache-dir --no-deps --editable . && touch .venv/.ready

ENV PATH=/opt/satbench/.venv/bin:$PATH
CMD ["satbench", "--help"]

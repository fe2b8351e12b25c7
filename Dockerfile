# One image for both programs: the gateway (no arguments) and the runner (`runner ...`).
# Another base needs only Python 3.11 or newer, with its venv module, called python3.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/gateway
WORKDIR /src
# What rarely changes first: an edited source file does not download the dependencies again.
COPY pyproject.toml constraints.txt ./
RUN python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > requirements.txt \
 && /opt/gateway/bin/pip install --disable-pip-version-check --no-cache-dir -c constraints.txt -r requirements.txt
COPY . .
RUN /opt/gateway/bin/pip install --disable-pip-version-check --no-cache-dir --no-deps . \
 && /opt/gateway/bin/pip uninstall --yes --quiet pip

FROM ${BASE_IMAGE}
COPY --from=build /opt/gateway /opt/gateway
COPY scripts/healthcheck.py /opt/gateway/
# The base image leaves the standard library's bytecode out, and a container writes none: it would
# compile it at every start, which takes as long as the rest of it, and 5 MiB for good.
RUN /opt/gateway/bin/python3 -c 'import gateway.cli, gateway.process.serve, backends.knative, backends.docker, backends.embedded.backend'
# A volume that is empty when mounted here takes over the folder's owner.
RUN mkdir -p /data/bundles && chown -R 10001:10001 /data
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RUNNER_BUNDLE_DIR=/data/bundles \
    HEALTHCHECK_PORT=8787
WORKDIR /data
USER 10001:10001
VOLUME /data/bundles
EXPOSE 8787 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python3", "/opt/gateway/healthcheck.py"]
# Exec form: the program is PID 1 itself, so SIGTERM, SIGINT and SIGHUP reach it.
ENTRYPOINT ["python3", "-m", "gateway"]

# The daemon. Context: the repository, with the wheel in dist/ (`make wheel`).
# In production give BASE by digest: --build-arg BASE=python:3.12-slim@sha256:...
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
# Empty: the index that pip knows. PIP_NO_INDEX=1 PIP_FIND_LINKS=/context/FOLDER builds offline.
ARG PIP_NO_INDEX=
ARG PIP_FIND_LINKS=
RUN --mount=type=bind,target=/context \
    python -m venv /opt/venv \
 && /opt/venv/bin/pip install --quiet --no-cache-dir --require-hashes \
        -r /context/requirements/daemon.txt \
 && /opt/venv/bin/pip install --quiet --no-cache-dir --no-deps /context/dist/*.whl \
 && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools \
 && rm -r /opt/venv/lib/python3*/site-packages/kubernetes/aio

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 9551
ENTRYPOINT ["autoscaler"]
CMD ["run", "--help"]

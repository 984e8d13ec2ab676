# The daemon.
# Context: the repository, with the wheel in dist/ (`pip wheel --no-deps --wheel-dir dist .`).
# In production give BASE by digest: --build-arg BASE=python:3.12-slim@sha256:...
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
# Empty: the index that pip knows. PIP_NO_INDEX=1 PIP_FIND_LINKS=/context/FOLDER builds offline.
ARG PIP_NO_INDEX=
ARG PIP_FIND_LINKS=
RUN python -m venv /opt/venv
COPY requirements/daemon.txt /build/
RUN --mount=type=bind,target=/context \
    /opt/venv/bin/pip install --quiet --no-cache-dir --require-hashes \
        -r /build/daemon.txt
# Last, so that another wheel of ours is all that is installed anew.
COPY dist/*.whl /build/
RUN /opt/venv/bin/pip install --quiet --no-cache-dir --no-deps /build/*.whl \
 && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools \
 && rm -r /opt/venv/lib/python3*/site-packages/kubernetes/aio

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 9551
ENTRYPOINT ["autoscaler"]
CMD ["run", "--help"]

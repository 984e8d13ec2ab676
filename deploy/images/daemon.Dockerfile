# The daemon.
# Context: the repository, with the wheel in dist/ (`pip wheel --no-deps --wheel-dir dist .`).
# In production give BASE by digest: --build-arg BASE=python:3.12-slim@sha256:...
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
# Empty: the index that pip knows. PIP_NO_INDEX=1 PIP_FIND_LINKS=/context/FOLDER builds offline.
ARG PIP_NO_INDEX=
ARG PIP_FIND_LINKS=
# The installer stands beside the environment that it fills, and stays behind.
ENV PIP_PYTHON=/opt/venv/bin/python
RUN python -m venv /opt/pip && python -m venv --without-pip /opt/venv
COPY requirements/daemon.txt /build/
RUN --mount=type=bind,target=/context \
    /opt/pip/bin/pip install --quiet --no-cache-dir --require-hashes \
        -r /build/daemon.txt \
 && rm -r /opt/venv/lib/python3*/site-packages/kubernetes/aio

# In a layer of its own: our next release is a megabyte and not all of the packages again.
FROM build AS ours
COPY dist/*.whl /build/
RUN /opt/pip/bin/pip install --quiet --no-cache-dir --no-deps --prefix /opt/ours /build/*.whl

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
COPY --from=ours /opt/ours /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 9551
ENTRYPOINT ["autoscaler"]
CMD ["run", "--help"]

# The daemon.
# Build context: the repository, with the wheel in dist/ (`pip wheel --no-deps --wheel-dir dist .`).
ARG BASE=python:3.12-slim@sha256:05cda9777409a9c3ffddd94a4c476b79f0769a0b4857f0c7ed9226b6800b0d6f
FROM ${BASE} AS build
# Empty: pip's default index. PIP_NO_INDEX=1 PIP_FIND_LINKS=/context/FOLDER builds offline.
ARG PIP_NO_INDEX=
ARG PIP_FIND_LINKS=
# pip has its own environment, which is not copied into the image.
ENV PIP_PYTHON=/opt/venv/bin/python
RUN python -m venv /opt/pip && python -m venv --without-pip /opt/venv
COPY requirements/daemon.txt /build/
RUN --mount=type=bind,target=/context \
    /opt/pip/bin/pip install --quiet --no-cache-dir --require-hashes \
        -r /build/daemon.txt \
 && rm -r /opt/venv/lib/python3*/site-packages/kubernetes/aio

# A separate layer: a new release of ours adds a megabyte and does not reinstall the packages.
FROM build AS ours
COPY dist/*.whl /build/
RUN /opt/pip/bin/pip install --quiet --no-cache-dir --no-deps --prefix /opt/ours /build/*.whl

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
COPY --from=ours /opt/ours /opt/venv
# With an arena for each of its threads, glibc would take a third more memory for a pod.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2
USER 65532:65532
EXPOSE 9551
ENTRYPOINT ["autoscaler"]
CMD ["run", "--help"]

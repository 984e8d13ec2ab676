# The galaxy app, with the launcher as its first process; also Dask's scheduler and workers.
# Build context: the repository, with the wheel in dist/ (`pip wheel --no-deps --wheel-dir dist .`).
ARG BASE=python:3.12-slim@sha256:05cda9777409a9c3ffddd94a4c476b79f0769a0b4857f0c7ed9226b6800b0d6f
FROM ${BASE} AS build
# Empty: pip's default index. PIP_NO_INDEX=1 PIP_FIND_LINKS=/context/FOLDER builds offline.
ARG PIP_NO_INDEX=
ARG PIP_FIND_LINKS=
# pip has its own environment, which is not copied into the image.
ENV PIP_PYTHON=/opt/venv/bin/python
RUN python -m venv /opt/pip && python -m venv --without-pip /opt/venv
COPY requirements/big-data.txt /build/
RUN --mount=type=bind,target=/context \
    /opt/pip/bin/pip install --quiet --no-cache-dir --require-hashes \
        -r /build/big-data.txt \
 && find /opt/venv -type d -name tests -path '*/site-packages/*' -prune -exec rm -r {} +

# A separate layer: a new release of ours adds a megabyte and does not reinstall the packages.
FROM build AS ours
COPY dist/*.whl /build/
RUN /opt/pip/bin/pip install --quiet --no-cache-dir --no-deps --prefix /opt/ours /build/*.whl

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
COPY --from=ours /opt/ours /opt/venv
COPY deploy/examples/big-data/app.py deploy/examples/big-data/warm.py /app/
COPY deploy/examples/big-data/big_data /app/big_data
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 65532:65532
EXPOSE 5006
# PID 1 ignores SIGTERM until a handler is installed. Block it first, so that a SIGTERM during
# start-up stays pending.
ENTRYPOINT ["env", "--block-signal=TERM", "bokeh-exporter", "launch", "--"]
CMD ["python", "-m", "panel", "serve", "app.py", "--setup=warm.py"]

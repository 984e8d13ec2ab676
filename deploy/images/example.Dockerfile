# An app with the launcher as its first process: what to add to an image of your own.
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
COPY deploy/images/example/requirements.txt /build/
RUN --mount=type=bind,target=/context \
    /opt/pip/bin/pip install --quiet --no-cache-dir --require-hashes \
        -r /build/requirements.txt

# In a layer of its own: our next release is a megabyte and not all of the packages again.
FROM build AS ours
COPY dist/*.whl /build/
RUN /opt/pip/bin/pip install --quiet --no-cache-dir --no-deps --prefix /opt/ours /build/*.whl

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
COPY --from=ours /opt/ours /opt/venv
COPY deploy/images/example/app.py /app/app.py
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 65532:65532
EXPOSE 5006
# A first process that has not asked for a signal yet never hears it; a blocked one waits for it.
ENTRYPOINT ["env", "--block-signal=TERM", "bokeh-exporter", "launch", "--"]
CMD ["bokeh", "serve", "app.py"]

# An app with the launcher as its first process: what to add to an image of your own.
# Context: the repository, with the wheel in dist/ (`pip wheel --no-deps --wheel-dir dist .`).
# In production give BASE by digest: --build-arg BASE=python:3.12-slim@sha256:...
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
# Empty: the index that pip knows. PIP_NO_INDEX=1 PIP_FIND_LINKS=/context/FOLDER builds offline.
ARG PIP_NO_INDEX=
ARG PIP_FIND_LINKS=
RUN python -m venv /opt/venv
COPY deploy/images/example/requirements.txt /build/
RUN --mount=type=bind,target=/context \
    /opt/venv/bin/pip install --quiet --no-cache-dir --require-hashes \
        -r /build/requirements.txt
# Last, so that another wheel of ours is all that is installed anew.
COPY dist/*.whl /build/
RUN /opt/venv/bin/pip install --quiet --no-cache-dir --no-deps /build/*.whl \
 && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
COPY deploy/images/example/app.py /app/app.py
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 65532:65532
EXPOSE 5006
ENTRYPOINT ["bokeh-exporter", "launch", "--"]
CMD ["bokeh", "serve", "app.py"]

# The service for single rows. It contains neither Bokeh nor the autoscaler.
# Build context: the repository.
ARG BASE=python:3.12-slim@sha256:05cda9777409a9c3ffddd94a4c476b79f0769a0b4857f0c7ed9226b6800b0d6f
FROM ${BASE} AS build
# Empty: pip's default index. PIP_NO_INDEX=1 PIP_FIND_LINKS=/context/FOLDER builds offline.
ARG PIP_NO_INDEX=
ARG PIP_FIND_LINKS=
# pip has its own environment, which is not copied into the image.
ENV PIP_PYTHON=/opt/venv/bin/python
RUN python -m venv /opt/pip && python -m venv --without-pip /opt/venv
COPY requirements/big-data-service.txt /build/
RUN --mount=type=bind,target=/context \
    /opt/pip/bin/pip install --quiet --no-cache-dir --require-hashes \
        -r /build/big-data-service.txt

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
COPY deploy/examples/big-data/big_data /app/big_data
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 65532:65532
EXPOSE 8000
ENTRYPOINT ["python", "-m", "uvicorn", "big_data.service:app", "--host=0.0.0.0", "--port=8000"]

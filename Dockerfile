# An image for container work pools (docker, kubernetes): the package, the flows and their
# deployments, at the versions of constraints.txt. Settings and secrets are given at run time.
#
#     docker build -t qbo-attach .
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30

WORKDIR /opt/qbo-attach
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY qbo_attach/ qbo_attach/
COPY flows/ flows/
COPY deployments/ deployments/
# Editable: it puts /opt/qbo-attach on the path, so that `flows.migrate` is found from anywhere.
RUN pip install -c constraints.txt -e .

RUN useradd --create-home --uid 10001 attach
USER attach
WORKDIR /home/attach

CMD ["prefect", "worker", "start", "--pool", "qbo-attach", "--type", "process"]

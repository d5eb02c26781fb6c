# The controllers and the syncer in one image: `run-controllers` is the default, a syncer's
# Deployment says `syncer` instead.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY kcpctl kcpctl
RUN python -m venv /opt/kcpctl && /opt/kcpctl/bin/pip install --no-cache-dir '.[otel]'

FROM python:3.13-slim
COPY --from=build /opt/kcpctl /opt/kcpctl
ENV PATH=/opt/kcpctl/bin:$PATH PYTHONUNBUFFERED=1
USER 1001:1001
ENTRYPOINT ["kcpctl"]
CMD ["run-controllers"]

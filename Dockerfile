# The OpenEnv server: explore, the analyst and the ETL jobs at port 8000, without Ray. docs/openenv.md tells how to run it.
FROM python:3.11-slim AS builder
WORKDIR /app
ENV UV_PROJECT_ENVIRONMENT=/app/.venv UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 XDG_CACHE_HOME=/app/cache PYTHONPATH=/app
COPY requirements/uv.txt requirements/uv.txt
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir -r requirements/uv.txt
COPY pyproject.toml uv.lock README.md ./
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-install-project
COPY services services
COPY cluster cluster
COPY server server
COPY configs configs
COPY checkpoints checkpoints
RUN .venv/bin/python -m compileall -q services cluster server \
    && .venv/bin/python -m cluster.cli tasks list builtin > /dev/null \
    && .venv/bin/python -m cluster.cli tasks list builtin-analyst > /dev/null \
    && .venv/bin/python -c "from cluster.etl.builtin.cached import builtin_jobs; builtin_jobs('small')" \
    && chmod -R a+rX cache

FROM python:3.11-slim
WORKDIR /app
COPY --from=builder /app /app
ENV PATH=/app/.venv/bin:$PATH PYTHONPATH=/app XDG_CACHE_HOME=/app/cache HOME=/tmp \
    NUMBA_CACHE_DIR=/tmp/numba PYTHONDONTWRITEBYTECODE=1 ENABLE_WEB_INTERFACE=true GRADIO_ANALYTICS_ENABLED=False
USER 65532:65532
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["python", "-m", "server.app", "--host", "0.0.0.0", "--port", "8000"]

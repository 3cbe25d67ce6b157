# The image of the factory: a Prefect worker that runs the flows, and `hedonic` itself.
#   hedonic image worker
# Its context is the project's root; what of it may come in is in worker.Dockerfile.dockerignore.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS base
# LightGBM's OpenMP; the distribution's newest patch is wanted, not one version.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && groupadd --gid 10001 hedonic && useradd --uid 10001 --gid 10001 --home-dir /var/lib/hedonic --create-home hedonic \
 && python -m compileall -q -x '/(test|tests|idlelib|lib2to3|site-packages|dist-packages)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*

FROM base AS packages
WORKDIR /build
COPY requirements-factory.txt ./
# Where packages come from is the builder's own matter: a secret leaves nothing in a layer.
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python -m venv /opt/hedonic \
 && /opt/hedonic/bin/pip install --cache-dir /var/cache/pip --require-hashes --no-deps --only-binary :all: --no-compile -r requirements-factory.txt \
 && /opt/hedonic/bin/pip uninstall --yes --quiet pip \
 && find /opt/hedonic -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
RUN /opt/hedonic/bin/python -m compileall -q /opt/hedonic/lib \
 && printf '#!/opt/hedonic/bin/python\nfrom hedonic.cli import main\n\nmain()\n' >/opt/hedonic/bin/hedonic \
 && chmod 755 /opt/hedonic/bin/hedonic

# One layer of what is needed of the base, without what was deleted from it.
FROM scratch
# hadolint ignore=DL3067
COPY --from=base / /
COPY --from=packages /opt/hedonic /opt/hedonic
ENV PATH=/opt/hedonic/bin:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin \
    LANG=C.UTF-8 \
    HOME=/var/lib/hedonic \
    PYTHONPATH=/srv/hedonic/src:/srv/hedonic \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HEDONIC_ROOT=/srv/hedonic \
    HEDONIC_HOME=/var/lib/hedonic/home \
    PREFECT_HOME=/var/lib/hedonic/home/prefect \
    PREFECT_RESULTS_DEFAULT_SERIALIZER=json \
    PREFECT_LOGGING_EXTRA_LOGGERS=optuna,mlflow,hedonic \
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT=false \
    DO_NOT_TRACK=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    BENTOML_DO_NOT_TRACK=True \
    GRADIO_ANALYTICS_ENABLED=False \
    GX_ANALYTICS_ENABLED=false \
    OTEL_SDK_DISABLED=true \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    OPENBLAS_CORETYPE=Haswell \
    NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR"
WORKDIR /srv/hedonic
COPY . ./
RUN ["python", "-m", "compileall", "-q", "src", "flows", "tasks", "bentos"]
USER 10001:10001
VOLUME /var/lib/hedonic
CMD ["prefect", "worker", "start", "--pool", "hedonic", "--type", "process"]

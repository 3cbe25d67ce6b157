# The image of one release. Its context is the release's bento, which holds this file as env/docker/Dockerfile:
#   hedonic image king_county
# Packages come before code, and code before the release: another release installs nothing.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS base
# LightGBM's OpenMP; the distribution's newest patch is wanted, not one version.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && groupadd --gid 10001 hedonic && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home hedonic \
 && python -m compileall -q -x '/(test|tests|idlelib|lib2to3|site-packages|dist-packages)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*

FROM base AS packages
WORKDIR /build
COPY env/python/requirements.txt ./
# Where packages come from is the builder's own matter: a secret leaves nothing in a layer.
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python -m venv /opt/hedonic \
 && /opt/hedonic/bin/pip install --cache-dir /var/cache/pip --require-hashes --no-deps --only-binary :all: --no-compile -r requirements.txt \
 && /opt/hedonic/bin/pip uninstall --yes --quiet pip setuptools \
 && find /opt/hedonic -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
# Read-only at run time, so compiled here; of the large ones what is imported alone.
RUN python -m compileall -q -x '/(scipy|pygments|narwhals|pyparsing)/' /opt/hedonic/lib \
 && /opt/hedonic/bin/python -c "import scipy.spatial, scipy.special, pygments.lexers, pygments.styles, pyparsing"

# One layer of what is needed of the base, without what was deleted from it.
FROM scratch
# hadolint ignore=DL3067
COPY --from=base / /
COPY --from=packages /opt/hedonic /opt/hedonic
ENV PATH=/opt/hedonic/bin:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin \
    LANG=C.UTF-8 \
    HOME=/tmp \
    PYTHONPATH=/srv/bento/src \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BENTOML_HOME=/tmp/bentoml \
    BENTOML_CONTAINERIZED=true \
    BENTOML_DO_NOT_TRACK=True \
    DO_NOT_TRACK=1 \
    OTEL_SDK_DISABLED=true \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    OPENBLAS_CORETYPE=Haswell \
    NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" \
    HEDONIC_HOST=0.0.0.0 \
    PORT=8080
WORKDIR /srv/bento
COPY src/hedonic ./src/hedonic
COPY src/bentos ./src/bentos
RUN ["python", "-m", "compileall", "-q", "src"]
COPY . ./
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-I", "-S", "/srv/bento/src/bentos/health.py"]
ENTRYPOINT ["python", "-m", "bentos.container"]

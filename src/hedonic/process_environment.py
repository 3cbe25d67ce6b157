"""What every process of ours is started with: the pinned numeric environment, and silence towards outside."""

from __future__ import annotations

import os

# One CPU level and one thread give the same bits on every x86-64-v3 machine (docs/adr/0003).
# These act only when set before numpy is imported.
NUMERIC_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}

QUIET_ENVIRONMENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "OTEL_SDK_DISABLED": "true",
    "GX_ANALYTICS_ENABLED": "false",
}


def read_numeric_environment() -> dict[str, str]:
    """Return the numeric environment of this process by variable; empty where one is not set."""
    return {name: os.environ.get(name, "") for name in NUMERIC_ENVIRONMENT}

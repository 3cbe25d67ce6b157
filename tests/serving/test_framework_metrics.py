"""BentoML's own metrics count the routes that it declares, though our short-cut answers them."""

import re

from tests.tiny_release import ROW


def counted(served, name):
    """Return the sum of a metric of BentoML's over the good answers of /predict."""
    text = served.ask("GET", "/metrics").body.decode()
    lines = [line for line in text.splitlines() if line.startswith(f"bentoml_service_{name}{{")]
    good = [line for line in lines if 'endpoint="/predict"' in line and 'http_response_code="200"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in good)


def test_every_prediction_is_in_the_framework_s_counter_and_histogram(served):
    before = {name: counted(served, name) for name in ("request_total", "request_duration_seconds_count")}
    for _ in range(3):
        assert served.predict(ROW).status == 200
    assert served.predict(ROW, path="/predict?x=1").status == 200  # by the declared route itself
    for name, number in before.items():
        assert counted(served, name) == number + 4
    scraped = served.ask("GET", "/metrics").body.decode()
    (last,) = re.findall(r"^bentoml_service_last_request_timestamp_seconds\{.*\} (\S+)$", scraped, re.M)
    assert float(last) > 1.7e9

"""Reads an exposition from stdin with the strict parser of prometheus_client; prints its families as JSON.

Usage: parse_metrics.py openmetrics|prometheus
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus


def exemplar(sample):
    found = sample.exemplar
    return found and {"labels": found.labels, "value": found.value, "timestamp": float(found.timestamp)}


def family(metric):
    samples = [
        {"name": sample.name, "labels": sample.labels, "value": str(sample.value), "exemplar": exemplar(sample)}
        for sample in metric.samples
    ]
    return {"name": metric.name, "type": metric.type, "unit": metric.unit, "help": metric.documentation, "samples": samples}


parse = {"openmetrics": openmetrics, "prometheus": prometheus}[sys.argv[1]]
text = sys.stdin.buffer.read().decode("utf-8")
json.dump([family(metric) for metric in parse(text)], sys.stdout)

"""Sends logs and metrics of every kind with the OpenTelemetry SDK and prints the requests, in hex, as JSON.

Usage: send_signals.py grpc|http|grpc+gzip|http+gzip ENDPOINT
"""

import json
import logging
import sys

import grpc
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

RESOURCE = Resource.create({"service.name": "py-shop", "shelves": ["a", "b"]})


def exporters(protocol, endpoint):
    gzip = protocol.endswith("+gzip")
    if protocol.startswith("grpc"):
        options = {"endpoint": endpoint, "insecure": True}
        options["compression"] = grpc.Compression.Gzip if gzip else None
        return GrpcLogs(**options), GrpcMetrics(**options)
    compression = Compression.Gzip if gzip else None
    return (
        HttpLogs(endpoint=f"{endpoint}/v1/logs", compression=compression),
        HttpMetrics(endpoint=f"{endpoint}/v1/metrics", compression=compression),
    )


def noting(exporter, encode):
    """Has the exporter note what it sends."""
    sent, export = [], exporter.export

    def noted(batch, *arguments, **options):
        sent.append(encode(batch).SerializeToString().hex())
        return export(batch, *arguments, **options)

    exporter.export = noted
    return sent


def send_logs(exporter):
    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = logging.getLogger("shop")
    logger.propagate = False
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.setLevel(logging.DEBUG)
    logger.info("Größe ✓ \"quoted\"", extra={"items": 3, "ratio": 0.25, "retry": False})
    with TracerProvider(resource=RESOURCE).get_tracer("shop").start_as_current_span("GET /order"):
        try:
            raise ValueError("shelf is empty")
        except ValueError:
            logger.exception("cannot order")
    provider.get_logger("events", "1.2").emit(
        LogRecord(
            timestamp=1_700_000_000_000_000_001,
            severity_number=SeverityNumber.FATAL4,
            severity_text="worst",
            body={"nested": {"list": [1, 2.5, True, None, b"\x00\xff"]}},
            attributes={"large": -(2**63)},
            event_name="shop.closed",
        )
    )
    provider.shutdown()


def send_metrics(exporter):
    exponential = View(
        instrument_name="wait", aggregation=ExponentialBucketHistogramAggregation()
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
    provider = MeterProvider(
        metric_readers=[reader],
        resource=RESOURCE,
        views=[exponential],
        exemplar_filter=AlwaysOnExemplarFilter(),
    )
    meter = provider.get_meter("shop", "1.2")
    with TracerProvider(resource=RESOURCE).get_tracer("shop").start_as_current_span("GET /order"):
        orders = meter.create_counter("orders", unit="{order}", description="Orders taken")
        for number in range(3):
            orders.add(1 + number, {"country": "äö", "vip": number == 0})
        meter.create_up_down_counter("open").add(-2)
        duration = meter.create_histogram("duration", unit="s")
        wait = meter.create_histogram("wait", unit="s")
        for value in (0.0, 0.003, 0.7, 12_345.678):
            duration.record(value, {"route": "/order"})
            wait.record(value)
    meter.create_observable_gauge("load", [lambda _: [Observation(0.75, {"cpu": 1})]])
    provider.force_flush()
    provider.shutdown()


def main(protocol, endpoint):
    logs, metrics = exporters(protocol, endpoint)
    sent = {"logs": noting(logs, encode_logs), "metrics": noting(metrics, encode_metrics)}
    trace.set_tracer_provider(TracerProvider(resource=RESOURCE))
    send_logs(logs)
    send_metrics(metrics)
    print(json.dumps(sent))


if __name__ == "__main__":
    main(*sys.argv[1:])

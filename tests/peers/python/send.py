"""Sends one trace of two services with the OpenTelemetry SDK and prints what it sent as JSON.

Usage: send.py grpc|http|grpc+gzip|grpc+deflate|http+gzip|http+deflate|zipkin ENDPOINT

At https:// the exporters take certificates and headers from OpenTelemetry's own variables.
"""

import json
import sys

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, set_span_in_context
import grpc


def exporter(protocol, endpoint):
    if protocol == "zipkin":
        return ZipkinExporter(endpoint=endpoint)
    transport, _, encoding = protocol.partition("+")
    if transport == "grpc":
        compression = getattr(grpc.Compression, encoding.capitalize()) if encoding else None
        insecure = None if endpoint.startswith("https://") else True
        return GrpcExporter(endpoint=endpoint, insecure=insecure, compression=compression)
    return HttpExporter(endpoint=endpoint, compression=Compression(encoding) if encoding else None)


def provider(service, protocol, endpoint):
    made = TracerProvider(resource=Resource.create({"service.name": service}))
    made.add_span_processor(BatchSpanProcessor(exporter(protocol, endpoint)))
    return made


def plain(attributes):
    return {k: list(v) if isinstance(v, tuple) else v for k, v in attributes.items()}


def described(span, service, kind, error=None):
    parent = span.parent
    return {
        "service": service,
        "span_id": format(span.get_span_context().span_id, "016x"),
        "parent_span_id": format(parent.span_id, "016x") if parent else None,
        "name": span.name,
        "kind": kind,
        "start": str(span.start_time),
        "end": str(span.end_time),
        "attributes": plain(span.attributes),
        "events": [{"name": event.name, "attributes": plain(event.attributes)} for event in span.events],
        "links": [
            {"span_id": format(link.context.span_id, "016x"), "attributes": plain(link.attributes)}
            for link in span.links
        ],
        "resource": plain(span.resource.attributes),
        "scope": [span.instrumentation_scope.name, span.instrumentation_scope.version],
        "error": error,
    }


def main(protocol, endpoint):
    shop, stock = (provider(name, protocol, endpoint) for name in ("py-shop", "py-stock"))
    tracer, other = shop.get_tracer("shop", "1.2.3"), stock.get_tracer("stock", "1.2.3")

    root = tracer.start_span("GET /order", kind=SpanKind.SERVER)
    root.set_attribute("http.request.method", "GET")
    root.set_attribute("text.with.accents", "Größe ✓ \"quoted\"")
    client = tracer.start_span("GET", context=set_span_in_context(root), kind=SpanKind.CLIENT)
    client.set_attribute("server.port", 8080)
    client.set_attribute("ratio", 0.25)
    client.set_attribute("retry", False)
    links = [Link(root.get_span_context(), {"cause": "retry", "attempt": 2})]
    below = set_span_in_context(client)
    server = other.start_span("GET /stock", context=below, kind=SpanKind.SERVER, links=links)
    server.set_attribute("items", ["a", "b"])
    server.add_event("cache miss", {"key": "42"})
    inner = other.start_span("lookup", context=set_span_in_context(server))
    inner.set_status(Status(StatusCode.ERROR, "shelf is empty"))

    for span in (inner, server, client, root):
        span.end()
    sent = [
        described(root, "py-shop", "SERVER"),
        described(client, "py-shop", "CLIENT"),
        described(server, "py-stock", "SERVER"),
        described(inner, "py-stock", None, "shelf is empty"),
    ]
    shop.shutdown()
    stock.shutdown()
    trace_id = format(root.get_span_context().trace_id, "032x")
    print(json.dumps({"trace_id": trace_id, "spans": sent}))


if __name__ == "__main__":
    main(*sys.argv[1:])

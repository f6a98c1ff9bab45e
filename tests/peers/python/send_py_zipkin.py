"""Sends a call between two services with py_zipkin, whose halves share a span, and prints what it sent as JSON.

Usage: send_py_zipkin.py json|protobuf ENDPOINT
"""

import json
import sys
import urllib.request

from py_zipkin import Encoding, Kind
from py_zipkin.transport import BaseTransportHandler
from py_zipkin.util import generate_random_64bit_string
from py_zipkin.zipkin import ZipkinAttrs, zipkin_span

# Its ids have 64 bits, and a trace is named after its root.
TRACE_ID, SHARED_ID = generate_random_64bit_string(), generate_random_64bit_string()
ROOT_ID = TRACE_ID


class Transport(BaseTransportHandler):
    def __init__(self, encoding, endpoint):
        self.type = "application/x-protobuf" if encoding is Encoding.V2_PROTO3 else "application/json"
        self.endpoint = endpoint

    def get_max_payload_bytes(self):
        return None

    def send(self, payload):
        body = payload if isinstance(payload, bytes) else payload.encode()
        request = urllib.request.Request(self.endpoint, body, {"Content-Type": self.type})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 202, answer.status


def span(service, kind, tags, encoding, endpoint):
    attrs = ZipkinAttrs(trace_id=TRACE_ID, span_id=SHARED_ID, parent_span_id=ROOT_ID, flags="0", is_sampled=True)
    return zipkin_span(
        service_name=service,
        span_name="get /stock",
        zipkin_attrs=attrs,
        transport_handler=Transport(encoding, endpoint),
        kind=kind,
        binary_annotations=tags,
        annotations={"cache miss": 1_700_000_000.5},
        host="10.1.2.3",
        port=8080,
        encoding=encoding,
    )


def main(format, endpoint):
    encoding = {"json": Encoding.V2_JSON, "protobuf": Encoding.V2_PROTO3}[format]
    with span("pz-shop", Kind.CLIENT, {"http.path": "/stock"}, encoding, endpoint):
        with span("pz-stock", Kind.SERVER, {"error": "shelf is empty"}, encoding, endpoint):
            pass
    print(json.dumps({"trace_id": TRACE_ID, "shared_id": SHARED_ID, "parent_id": ROOT_ID}))


if __name__ == "__main__":
    main(*sys.argv[1:])

// Sends one trace of two services with the OpenTelemetry SDK and prints what it sent as JSON.
//
// Usage: send.mjs otlp-json|otlp-proto|otlp-grpc|zipkin ENDPOINT; OTLP's also with +gzip

import { SpanKind, SpanStatusCode, trace, ROOT_CONTEXT } from '@opentelemetry/api';
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { ZipkinExporter } from '@opentelemetry/exporter-zipkin';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';

const [protocol, url] = process.argv.slice(2);

const [format, compression = 'none'] = protocol.split('+');
const Exporter = {
  zipkin: ZipkinExporter,
  'otlp-json': JsonExporter,
  'otlp-proto': ProtobufExporter,
  'otlp-grpc': GrpcExporter,
}[format];

const providers = ['js-shop', 'js-stock'].map(
  (service) =>
    new BasicTracerProvider({
      resource: resourceFromAttributes({ 'service.name': service }),
      spanProcessors: [new BatchSpanProcessor(new Exporter({ url, compression }))],
    }),
);
const [shop, stock] = providers.map((provider) => provider.getTracer('tests', '1.2.3'));
const below = (span) => trace.setSpan(ROOT_CONTEXT, span);

const root = shop.startSpan('GET /order', { kind: SpanKind.SERVER }, ROOT_CONTEXT);
root.setAttribute('text.with.accents', 'Größe ✓ "quoted"\n');
const client = shop.startSpan('GET', { kind: SpanKind.CLIENT }, below(root));
client.setAttributes({ 'server.port': 8080, ratio: 0.25, retry: false });
const links = [{ context: root.spanContext(), attributes: { cause: 'retry', attempt: 2 } }];
const server = stock.startSpan('GET /stock', { kind: SpanKind.SERVER, links }, below(client));
server.setAttribute('items', ['a', 'b']);
server.addEvent('cache miss', { key: '42' });
const inner = stock.startSpan('lookup', {}, below(server));
inner.setStatus({ code: SpanStatusCode.ERROR, message: 'shelf is empty' });
for (const span of [inner, server, client, root]) span.end();

// This SDK's Zipkin exporter writes lists as JavaScript does.
const written = (value) => (protocol === 'zipkin' && Array.isArray(value) ? String(value) : value);
const attributes = (span) => Object.fromEntries(Object.entries(span.attributes).map(([key, value]) => [key, written(value)]));

const nanos = ([seconds, rest]) => `${seconds}${String(rest).padStart(9, '0')}`;
const described = (span, service, kind, error = null) => ({
  service,
  span_id: span.spanContext().spanId,
  parent_span_id: span.parentSpanContext?.spanId ?? null,
  name: span.name,
  kind,
  start: nanos(span.startTime),
  end: nanos(span.endTime),
  attributes: attributes(span),
  events: span.events.map(({ name, attributes }) => ({ name, attributes })),
  links: span.links.map(({ context, attributes }) => ({ span_id: context.spanId, attributes })),
  resource: span.resource.attributes,
  scope: [span.instrumentationScope.name, span.instrumentationScope.version],
  error,
});
const spans = [
  described(root, 'js-shop', 'SERVER'),
  described(client, 'js-shop', 'CLIENT'),
  described(server, 'js-stock', 'SERVER'),
  described(inner, 'js-stock', null, 'shelf is empty'),
];
for (const provider of providers) await provider.shutdown();
console.log(JSON.stringify({ trace_id: root.spanContext().traceId, spans }));

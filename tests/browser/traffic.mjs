// Spans of which everything is known, as OTLP JSON. Used by acceptance.mjs.
import { randomBytes } from 'node:crypto';

export const newTraceId = () => randomBytes(16).toString('hex');
export const newSpanId = () => randomBytes(8).toString('hex');

/**
 * A span: `service`, `name` and `nanos` (how long it took), and what it may have beside: `traceId`, `spanId`, `parent`
 * (a span id), `kind` (2, a server, unless told), `start` (Unix nanoseconds, a BigInt; else it has just ended) and
 * `error` (a message).
 */
const otlp = ({ traceId = newTraceId(), spanId = newSpanId(), parent, name, kind = 2, start, nanos, error }) => {
  const from = start ?? BigInt(Date.now()) * 1_000_000n - BigInt(nanos);
  return {
    traceId, spanId, parentSpanId: parent, name, kind,
    startTimeUnixNano: String(from), endTimeUnixNano: String(from + BigInt(nanos)),
    status: error === undefined ? {} : { code: 2, message: error },
  };
};

/** One request with all of them. */
export const requestOf = (spans) => {
  const services = new Map();
  for (const span of spans) {
    if (!services.has(span.service)) services.set(span.service, []);
    services.get(span.service).push(span);
  }
  const resourceSpans = [...services].map(([service, own]) => ({
    resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] },
    scopeSpans: [{ spans: own.map(otlp) }],
  }));
  return { resourceSpans };
};

/**
 * 1,000 requests, each a trace of its own: nine in ten between 1 ms and 15 ms, the others a second hump up to 0.4 s;
 * every fortieth failed. They come in no order of length.
 */
export const knownRequests = (service) =>
  Array.from({ length: 1000 }, (_, number) => {
    const at = (number * 617) % 1000;
    return {
      service,
      name: at < 900 ? 'GET /quick' : 'GET /slow',
      nanos: Math.round(at < 900 ? 1e6 * 1.003 ** at : 300e6 + (at - 900) * 1e6),
      error: at % 40 === 39 ? 'no stock' : undefined,
    };
  });

/** What is true of requests: exact percentiles by nearest rank, in seconds. */
export const truthOf = (spans) => {
  const sorted = spans.map((span) => span.nanos / 1e9).sort((a, b) => a - b);
  const percentile = (share) => sorted[Math.ceil(share * sorted.length) - 1];
  return {
    count: spans.length,
    error_ratio: spans.filter((span) => span.error !== undefined).length / spans.length,
    p50: percentile(0.5), p95: percentile(0.95), p99: percentile(0.99), max: sorted.at(-1),
  };
};

/**
 * One trace of `size` spans of several services, ten to a parent and inside it: five one after the other, and beside each
 * a shorter one that nobody waits for.
 */
export const largeTrace = (size) => {
  const traceId = newTraceId();
  const start = BigInt(Date.now() - 2_000) * 1_000_000n;
  const spans = [{ service: 'part-0', name: 'step 0', traceId, spanId: newSpanId(), start, nanos: 1_000_000_000 }];
  for (let at = 1; at < size; at += 1) {
    const parent = spans[Math.floor((at - 1) / 10)];
    const place = (at - 1) % 10;
    const sixth = Math.floor(parent.nanos / 6);
    spans.push({
      service: `part-${at % 7}`, name: `step ${at}`, kind: 1, traceId, spanId: newSpanId(), parent: parent.spanId,
      start: parent.start + BigInt(sixth * Math.floor(place / 2)),
      nanos: place % 2 === 0 ? sixth : Math.floor(sixth / 2),
      error: at === 5 ? 'card declined' : undefined,
    });
  }
  return { traceId, spans };
};

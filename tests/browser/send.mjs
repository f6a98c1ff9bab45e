// Sends one span to a running collector as OTLP protobuf over HTTP, to the port its status names.
import { randomBytes } from 'node:crypto';

const field = (number, bytes) => {
  const length = [];
  let rest = bytes.length;
  for (; rest >= 0x80; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length, rest]), bytes]);
};
const text = (number, value) => field(number, Buffer.from(value));
const fixed64 = (number, value) => {
  const bytes = Buffer.alloc(9);
  bytes[0] = (number << 3) | 1;
  bytes.writeBigUInt64LE(value, 1);
  return bytes;
};

/** Where the collector takes OTLP over HTTP. */
const receiver = async (address) => {
  const status = await (await fetch(`${address}/api/v1/status`)).json();
  const found = status.receivers.find((candidate) => candidate.protocol === 'otlp-http');
  if (!found?.address) throw new Error('the collector does not listen for OTLP over HTTP');
  return found.address.replace(/^0\.0\.0\.0|^\[::\]/, 'localhost');
};

const attribute = (key, value) => Buffer.concat([text(1, key), field(2, text(1, value))]);

/** A server span of 5 ms that has just ended; returns its trace id. */
export const sendSpan = async (address, { service, operation }) =>
  sendTrace(address, [{ service, operation, from: 0, to: 5 }]);

/**
 * Spans of one trace that has just ended; returns its trace id. Each has a `service`, an `operation`, `from` and `to` in
 * milliseconds, and may have a `parent` (the number of another one, or 'gone'), a `kind` (2 is a server), an `error` and
 * `attributes`.
 */
export const sendTrace = async (address, spans) => {
  const traceId = randomBytes(16);
  const ids = spans.map(() => randomBytes(8));
  const last = Math.max(...spans.map((span) => span.to));
  const at = (millis) => (BigInt(Date.now()) - BigInt(last - millis)) * 1_000_000n;
  const groups = spans.map((span, number) => {
    const parent = span.parent === undefined ? [] : [field(4, ids[span.parent] ?? randomBytes(8))];
    const attributes = Object.entries(span.attributes ?? {}).map(([key, value]) => field(9, attribute(key, value)));
    const status = span.error ? [field(15, Buffer.concat([text(2, span.error), Buffer.from([0x18, 2])]))] : [];
    const bytes = Buffer.concat([
      field(1, traceId), field(2, ids[number]), ...parent, text(5, span.operation), Buffer.from([0x30, span.kind ?? 2]),
      fixed64(7, at(span.from)), fixed64(8, at(span.to)), ...attributes, ...status,
    ]);
    return field(1, Buffer.concat([field(1, field(1, attribute('service.name', span.service))), field(2, field(2, bytes))]));
  });
  const answer = await fetch(`http://${await receiver(address)}/v1/traces`, {
    method: 'POST', headers: { 'content-type': 'application/x-protobuf' }, body: Buffer.concat(groups),
  });
  if (!answer.ok) throw new Error(`the collector refused spans: ${answer.status} ${await answer.text()}`);
  return traceId.toString('hex');
};

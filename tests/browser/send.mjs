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

/** A server span of 5 ms that has just ended; returns its trace id. */
export const sendSpan = async (address, { service, operation }) => {
  const traceId = randomBytes(16);
  const now = BigInt(Date.now()) * 1_000_000n;
  const span = Buffer.concat([
    field(1, traceId), field(2, randomBytes(8)), text(5, operation), Buffer.from([0x30, 2]),
    fixed64(7, now - 5_000_000n), fixed64(8, now),
  ]);
  const attribute = Buffer.concat([text(1, 'service.name'), field(2, text(1, service))]);
  const body = field(1, Buffer.concat([field(1, field(1, attribute)), field(2, field(2, span))]));
  const answer = await fetch(`http://${await receiver(address)}/v1/traces`, {
    method: 'POST', headers: { 'content-type': 'application/x-protobuf' }, body,
  });
  if (!answer.ok) throw new Error(`the collector refused a span: ${answer.status} ${await answer.text()}`);
  return traceId.toString('hex');
};

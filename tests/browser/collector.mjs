// A collector of its own for a script: started on free loopback ports, stopped by signal, started again on the same
// ports. Used by acceptance.mjs.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';

const RECEIVERS = ['otlp-grpc', 'otlp-http', 'zipkin', 'web'];
/** How long a collector may take to be ready, or to end, before the script gives up: ms. */
const PATIENCE = 60_000;

const freePort = async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
};

/** Asks again and again until the answer is a truthy one. */
export const eventually = async (what, ask, patience = PATIENCE) => {
  const deadline = performance.now() + patience;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`waited ${patience / 1000} s in vain for ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 25); });
  }
};

/** The collector that `command` (a program and its first arguments) starts. */
export class Collector {
  /** Picks the ports and starts it; `ports` are by the names of the receivers and `web`. */
  static async start(command) {
    const ports = {};
    for (const name of RECEIVERS) ports[name] = await freePort();
    const collector = new Collector(command, ports);
    // Whatever ends this script, the collector does not outlive it.
    process.once('exit', () => collector.child?.kill('SIGKILL'));
    await collector.start();
    return collector;
  }

  constructor(command, ports) {
    this.command = command;
    this.ports = ports;
    this.address = `http://127.0.0.1:${ports.web}`;
  }

  /** Starts it on its ports, and waits until it is ready. */
  async start() {
    const [program, ...first] = this.command;
    const listen = RECEIVERS.flatMap((name) => [`--${name}`, `127.0.0.1:${this.ports[name]}`]);
    this.output = '';
    this.child = spawn(program, [...first, ...listen], { env: { ...process.env, BELLWETHER_DRAIN_DELAY: '0s' } });
    this.ended = once(this.child, 'close');
    // A program that cannot be started at all ends this script, saying why.
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', (chunk) => { this.output += chunk; });
    await eventually('a ready collector', async () => {
      if (this.child.exitCode !== null) throw new Error(`the collector ended at once: ${this.output}`);
      const answer = await fetch(`${this.address}/readyz`).catch(() => undefined);
      return answer?.ok;
    });
  }

  /** Ends it as a supervisor would. */
  async stop() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const late = setTimeout(() => this.child.kill('SIGKILL'), PATIENCE);
    this.child.kill('SIGTERM');
    await this.ended;
    clearTimeout(late);
  }

  /** An answer of the JSON API. */
  async api(path) {
    const answer = await fetch(`${this.address}/api/v1${path}`);
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
    return answer.json();
  }

  /** Sends spans, as `traffic.mjs` makes them, in one request; returns when it was on its way: Unix ms from and to. */
  async send(request) {
    const from = Date.now();
    const answer = await fetch(`http://127.0.0.1:${this.ports['otlp-http']}/v1/traces`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request),
    });
    if (!answer.ok) throw new Error(`the collector refused spans: ${answer.status} ${await answer.text()}`);
    return { from, to: Date.now() };
  }
}

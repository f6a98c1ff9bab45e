// node finding.mjs PROGRAM [ARGUMENT…]: goes the ways of docs/finding-a-slow-hop.md, as somebody does who was woken up:
// which hop makes the slow requests slow, and whose network gap has grown? It starts a collector of its own and sends it
// requests of which some are slow inside one service, and calls of which some cross a slow link. Each way is gone with a
// mouse on a wide and on a narrow screen, without script, and with the keyboard alone. Prints each check; exits 1 when one
// fails.
import { checks, expect, launch, openPage } from './browser.mjs';
import { Collector, eventually } from './collector.mjs';
import { newSpanId, newTraceId, requestOf } from './traffic.mjs';

/** The wide slots by which the collector counts, in milliseconds. */
const SLOT = 10_000;
const MS = 1_000_000;
/** What a sheet has between its margins, in CSS pixels. */
const A4 = { width: 718, height: 1000 };
/** So many clicks may lead from the page of services to the answer. */
const FEW = 5;

const command = process.argv.slice(2);
if (command.length === 0) {
  console.error('usage: node finding.mjs PROGRAM [ARGUMENT…]');
  process.exit(2);
}
const { check, finish } = checks();
const browser = await launch();
const collector = await Collector.start(command);

/** A call that `shop` makes, `gap` ms of it on the network, and what is done for it. */
const call = (trace, server, name, { at, took, gap, inside }) => {
  const [client, own] = [newSpanId(), newSpanId()];
  const start = trace.start + BigInt(at * MS);
  const arrives = start + BigInt((gap / 2) * MS);
  const spans = [
    { service: 'shop', name: `call ${server}`, kind: 3, parent: trace.root, spanId: client, start, nanos: (took + gap) * MS },
    { service: server, name, parent: client, spanId: own, start: arrives, nanos: took * MS },
  ];
  if (inside) spans.push({ service: server, name: inside, kind: 1, parent: own, start: arrives, nanos: took * MS });
  return spans;
};

/** A request to `shop`, which asks `cart` across a slow link and then `prices`, which is slow now and then. */
const request = ({ name, slow, gap }) => {
  const trace = { root: newSpanId(), start: BigInt(Date.now() - 1_000) * 1_000_000n };
  const took = slow ? 180 : 2;
  const spans = [
    { service: 'shop', name, spanId: trace.root, start: trace.start, nanos: (10 + gap + took) * MS },
    ...call(trace, 'cart', 'GET /cart', { at: 1, took: 2, gap }),
    ...call(trace, 'prices', 'GET /prices', { at: 4 + gap, took, gap: 2, inside: slow ? 'wait for the table' : undefined }),
  ];
  const traceId = newTraceId();
  return spans.map((span) => ({ traceId, spanId: newSpanId(), ...span }));
};
const send = (requests) => collector.send(requestOf(requests.flatMap(request)));
const nextSlot = async () => {
  const slot = Math.floor(Date.now() / SLOT);
  await eventually('the next ten seconds', () => Date.now() / SLOT >= slot + 1, 2 * SLOT);
  return slot + 1;
};

// Two windows of ten seconds, of which nothing is in that of the start: the link gets slower from one to the other.
await nextSlot();
await send(Array.from({ length: 30 }, () => ({ name: 'GET /order', slow: false, gap: 2 })));
const now = await nextSlot();
await send(Array.from({ length: 30 }, (_, number) => ({ name: 'POST /order', slow: number % 10 === 0, gap: 10 })));
await eventually('requests taken apart', async () => {
  const { items } = await collector.api('/services/shop/critical-path').catch(() => ({ items: [] }));
  return items.find((item) => item.operation === 'POST /order')?.requests === 30;
});
const iso = (slot) => new Date(slot * SLOT).toISOString().replace('.000', '');
const window = `from=${iso(now)}&to=${iso(now + 1)}`;

/** Five times as much, of two percentiles that are within 1.1 % each. */
const GROWN = /▲ (4\.9|5\.[01])×/;

/** Who looks at the pages, and how a link is followed. */
class Reader {
  static async open(name, path, options, keyboard = false) {
    return new Reader(name, await openPage(browser, collector.address, path, options), keyboard);
  }

  constructor(name, page, keyboard) {
    Object.assign(this, { name, page, keyboard, clicks: 0 });
  }

  /** Follows a link, by `j` and Enter where it has to be the keyboard. */
  async follow(link) {
    this.clicks += 1;
    const found = this.page.locator(link).first();
    const before = this.page.url();
    if (this.keyboard) await this.walkTo(found);
    else await found.click();
    if (this.keyboard) await this.page.keyboard.press('Enter');
    await this.page.waitForURL((url) => url.href !== before);
  }

  /** Steps from row to row until the one has the focus that the link is in. */
  async walkTo(link) {
    const reached = () => link.evaluate((element) => document.activeElement === element);
    for (let steps = 0; steps < 200; steps += 1) {
      if (await reached()) return;
      await this.page.keyboard.press('j');
    }
    throw new Error(`${this.name}: j never comes to ${link}`);
  }

  /** The text of what is there once, with plain spaces. */
  async read(what) {
    return (await this.page.locator(what).first().textContent()).replaceAll('\u{a0}', ' ');
  }

  /** The whole of it is on the screen, without moving a table. */
  async sees(what) {
    const [right, width] = await this.page.locator(what).first().evaluate((element) => [element.getBoundingClientRect().right, innerWidth]);
    expect(right <= width, `${this.name}: ${what} ends at ${right} of ${width} px`);
  }

  async says(what, ...parts) {
    const text = await this.read(what);
    const has = (part) => (part instanceof RegExp ? part.test(text) : text.includes(part));
    for (const part of parts) expect(has(part), `${this.name}: ${what} says ${JSON.stringify(text)}, not ${part}`);
  }

  /** On the page of a slow trace: who had most of the time. */
  async sawTheSlowHop() {
    expect(this.clicks < FEW, `${this.name}: ${this.clicks} clicks`);
    await this.says('.spent li', 'prices', '180 ms');
    expect(this.page.faults.length === 0, this.page.faults.join('; '));
    await this.page.context().close();
  }
}

const READERS = [
  ['1440 px', {}, false],
  ['375 px', { viewport: { width: 375, height: 900 } }, false],
  ['without script', { javaScriptEnabled: false }, false],
  ['keyboard', {}, true],
];

for (const [name, options, keyboard] of READERS) {
  await check(`${name}: from the services to the slow hop`, async () => {
    const reader = await Reader.open(name, `/?${window}&sort=p99`, options, keyboard);
    await reader.says('#services tbody tr', 'shop');
    await reader.sees('#services tbody tr[data-key="shop"] td.strong');
    await reader.follow('#services tr[data-key="shop"] a.service');
    await reader.says('#critical-path p:not(.muted)', 'of that in prices wait for the table');
    await reader.says('#slowest tbody tr', 'prices wait for the table', '90.0 %');
    await reader.follow('#slowest tbody tr a');
    await reader.sawTheSlowHop();
  });

  await check(`${name}: from the map to the slow hop`, async () => {
    const reader = await Reader.open(name, `/map?${window}&sort=server_p99`, options, keyboard);
    await reader.says('#edges tbody tr', 'prices');
    await reader.follow('#edges tbody tr a');
    await reader.says('.figures', /Seen by the client, p991[78]\d ms/, /Seen by the server, p991[78]\d ms/, /Network gap, p99(1\.9|2\.0)\d ms/);
    await reader.follow('tbody[data-key="slowest"] a');
    await reader.sawTheSlowHop();
  });

  await check(`${name}: whose network gap has grown`, async () => {
    const reader = await Reader.open(name, `/map?${window}&sort=gap_p50-change`, options, keyboard);
    await reader.says('.compared', 'Whose network gap has grown since the 10 s before');
    await reader.says('#edges tbody tr', 'cart', GROWN);
    await reader.follow('#edges tbody tr a');
    await reader.says('.figure.gap', GROWN);
    await reader.page.context().close();
  });
}

await check('printed: tables with changes fit the paper', async () => {
  for (const path of ['/', '/services/shop', '/map']) {
    const page = await openPage(browser, collector.address, `${path}?${window}&sort=${path === '/map' ? 'gap_p99' : 'p99'}-change`, { viewport: A4 });
    await page.emulateMedia({ media: 'print' });
    expect((await page.locator('.change').count()) > 0, `${path}: nothing is compared`);
    const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(beyond <= 0, `${path}: ${beyond} px are cut`);
    await page.context().close();
  }
});

for (const [name, options] of READERS.filter(([, , keyboard]) => !keyboard)) {
  await check(`${name}: from the list of traces to the slow hop`, async () => {
    const reader = await Reader.open(name, `/?${window}`, options);
    await reader.follow('nav.tabs a:has-text("Traces")');
    await reader.follow('#traces th a:has-text("Duration")');
    expect((await reader.page.getAttribute('#traces th[aria-sort]', 'aria-sort')) === 'descending', 'the list is not ordered');
    await reader.follow('#traces tbody tr a');
    await reader.sawTheSlowHop();
  });

  await check(`${name}: what the links ask is there to be found`, async () => {
    const reader = await Reader.open(name, `/?${window}`, options);
    await reader.follow('#services th a:has-text("p99")');
    await reader.says('#services tbody tr', 'shop');
    await reader.follow('nav.tabs a:has-text("Map")');
    await reader.follow('.compared a:has-text("p50")');
    await reader.says('#edges tbody tr', 'cart', GROWN);
    await reader.page.context().close();
  });
}

await browser.close();
await collector.stop();
finish();

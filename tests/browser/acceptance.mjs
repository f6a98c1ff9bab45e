// node acceptance.mjs PROGRAM [ARGUMENT…]: starts a collector of its own (`bellwether`, or what else takes its flags),
// sends it spans of which everything is known, and looks at the pages: what a fresh start says, what a new span changes,
// whether numbers, charts and lists tell the truth, and what a restart looks like. Prints each check; exits 1 when one
// fails.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { SCHEMES, WIDTHS, checks, expect, launch, openPage } from './browser.mjs';
import { Collector, eventually } from './collector.mjs';
import { lowestContrast } from './contrast.mjs';
import {
  barsOfRows, cellsOf, faultyDrawings, figuresOf, heatmapCells, invisibleFocus, isShown, lineCharts, read,
  smallestText,
} from './reading.mjs';
import { quickest, stopwatch, tell } from './timing.mjs';
import { knownRequests, largeTrace, newSpanId, newTraceId, requestOf, truthOf } from './traffic.mjs';

const SLOT = 10_000;
const ERROR_BOUND = 0.011;

const command = process.argv.slice(2);
if (command.length === 0) {
  console.error('usage: node acceptance.mjs PROGRAM [ARGUMENT…]');
  process.exit(2);
}
const { check, finish } = checks();
const browser = await launch();
const collector = await Collector.start(command);
const { address, ports } = collector;
const open = (path, options) => openPage(browser, address, path, options);
const keys = (page, rows) => page.locator(rows).evaluateAll((found) => found.map((row) => row.dataset.key));
const noFault = (page) => expect(page.faults.length === 0, page.faults.join('; '));
/** The slots of ten seconds around a time of sending, as a page's address says them. */
const slotsOf = ({ from, to }) => {
  const iso = (millis) => new Date(millis).toISOString().replace('.000', '');
  return `from=${iso(Math.floor(from / SLOT) * SLOT)}&to=${iso((Math.floor(to / SLOT) + 1) * SLOT)}`;
};
const sendAndSee = async (spans) => {
  const sent = await collector.send(requestOf(spans));
  const seen = async () => (await collector.api(`/services/${spans[0].service}/operations`).catch(() => undefined))?.items.length > 0;
  await eventually(`spans of ${spans[0].service}`, seen);
  return sent;
};

await check('1 fresh start: every page says how to send, to the ports that are bound', async () => {
  const bound = await collector.api('/status');
  for (const path of ['/', '/map', '/traces']) {
    const page = await open(path);
    const text = await page.textContent('main');
    expect(text.includes('has received no span yet'), `${path} does not say that nothing came`);
    for (const name of ['otlp-grpc', 'otlp-http', 'zipkin']) {
      const receiver = bound.receivers.find((candidate) => candidate.protocol === name);
      expect(receiver.address === `127.0.0.1:${ports[name]}`, `the status says ${receiver.address} for ${name}`);
      expect((await page.textContent('.ports')).includes(receiver.address), `${path} does not name ${receiver.address}`);
    }
    const named = [...text.matchAll(/(?:127\.0\.0\.1|localhost):(\d+)/g)].map(([, port]) => Number(port));
    expect(named.every((port) => Object.values(ports).includes(port)), `${path} names a port that is not bound: ${named}`);
    noFault(page);
    await page.context().close();
  }
});

for (const colorScheme of SCHEMES) {
  for (const width of WIDTHS) {
    await check(`11 fresh start, ${colorScheme}, ${width} px: text can be read, nothing goes beyond the screen`, async () => {
      const page = await open('/', { colorScheme, viewport: { width, height: 900 } });
      const worst = await page.evaluate(lowestContrast);
      expect(worst.ratio >= 4.5, `${worst.ratio.toFixed(2)} of ${JSON.stringify(worst.text)}`);
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(beyond <= 0, `${beyond} px too wide`);
      await page.context().close();
    });
  }
}

await check('1 fresh start: the copied command works as it is, and the page fills by itself', async () => {
  const page = await open('/', { permissions: ['clipboard-read', 'clipboard-write'] });
  await page.evaluate(() => { window.sameDocument = true; });
  await page.click('button[data-copy="command-curl"]');
  await page.waitForSelector('button[data-copy="command-curl"]:has-text("Copied")');
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied === (await page.textContent('#command-curl')), `copied was ${JSON.stringify(copied)}`);
  const { stderr } = await promisify(execFile)('sh', ['-c', copied]);
  expect(stderr === '', stderr);
  await page.waitForSelector('#services tr[data-key="hello"]');
  expect(await page.evaluate(() => window.sameDocument), 'the page was loaded anew');
  noFault(page);
  await page.context().close();
});

await check('2 a service appears within 2 s of its first batch, without reload', async () => {
  const page = await open('/');
  await page.waitForSelector('#live[data-state="on"]');
  await page.evaluate(() => { window.sameDocument = true; });
  let number = 0;
  const took = await quickest(2000, async () => {
    number += 1;
    const service = `new-${number}`;
    const start = performance.now();
    await collector.send(requestOf([{ service, name: 'GET /', nanos: 5e6 }]));
    await page.waitForSelector(`#services tr[data-key="${service}"]`);
    return performance.now() - start;
  });
  tell('a service appears', took, 2000);
  expect(await page.evaluate(() => window.sameDocument), 'the page was loaded anew');
  noFault(page);
  await page.context().close();
});

const requests = knownRequests('truth');
const truth = truthOf(requests);
const sent = await sendAndSee(requests);
const range = slotsOf(sent);
const SHOWN = { Rate: 'rate', Errors: 'error_ratio', p50: 'p50', p95: 'p95', p99: 'p99', Max: 'max' };
const close = (value, exact) => Math.abs(value - exact) <= ERROR_BOUND * exact;

await check('3 known durations: the API tells the truth, and the pages what the API tells', async () => {
  const { window, items } = await collector.api(`/services?${range}`);
  const told = items.find((item) => item.service === 'truth');
  const length = (Date.parse(window.to) - Date.parse(window.from)) / 1000;
  expect(told.count === truth.count && close(told.rate * length, truth.count), `${told.count} requests, ${told.rate}/s in ${length} s`);
  expect(told.error_ratio === truth.error_ratio, `${told.error_ratio} failed`);
  for (const name of ['p50', 'p95', 'p99', 'max']) expect(close(told[name], truth[name]), `${name}: ${told[name]}, truly ${truth[name]}`);
  const services = await open(`/?${range}`);
  const service = await open(`/services/truth?${range}`);
  for (const [where, shown] of [['services', await cellsOf(services, '#services', 'truth')], ['service', await figuresOf(service)]]) {
    for (const [label, name] of Object.entries(SHOWN)) {
      expect(isShown(shown[label] ?? '', told[name]), `${where}: ${label} is ${shown[label]}, not ${told[name]}`);
    }
  }
  await services.context().close();
  await service.context().close();
});

await check('3 known durations: each operation, too', async () => {
  const { items } = await collector.api(`/services/truth/operations?${range}`);
  const page = await open(`/services/truth?${range}`);
  for (const operation of ['GET /quick', 'GET /slow']) {
    const told = items.find((item) => item.operation === operation);
    const exact = truthOf(requests.filter((request) => request.name === operation));
    for (const name of ['count', 'error_ratio', 'p50', 'p95', 'p99', 'max']) {
      expect(close(told[name], exact[name]), `${operation}: ${name} is ${told[name]}, truly ${exact[name]}`);
    }
    const shown = await cellsOf(page, '#operations', `server ${operation}`);
    for (const [label, name] of Object.entries(SHOWN)) {
      expect(isShown(shown[label] ?? '', told[name]), `${operation}: ${label} is ${shown[label]}, not ${told[name]}`);
    }
  }
  await page.context().close();
});

await check('4 the order of traces changes rows and address, and Back restores both', async () => {
  const path = `/traces?service=truth&${range}`;
  const page = await open(path);
  const newest = await keys(page, '#traces tbody tr');
  await page.selectOption('select[name="order"]', 'slowest');
  await page.click('form.search button[type="submit"]');
  await page.waitForURL(/order=slowest/);
  const durations = (await page.locator('#traces tbody tr td:nth-of-type(1)').allTextContents()).map((text) => read(text).value);
  expect(durations.length > 1 && durations.every((length, at) => at === 0 || length <= durations[at - 1]), 'not the slowest first');
  expect(close(durations[0], truth.max), `the slowest takes ${durations[0]} s`);
  expect((await keys(page, '#traces tbody tr')).join() !== newest.join(), 'the same order as before');
  await page.goBack();
  expect(page.url() === address + path, `Back leads to ${page.url()}`);
  expect((await keys(page, '#traces tbody tr')).join() === newest.join(), 'other rows after Back');
  await page.context().close();
});

const SAME = {
  '/traces': [`service=truth&operation=GET+%2Fslow&min=310ms&max=350ms&error=false&order=slowest&${range}`, '#traces tbody tr'],
  '/services/truth': [`q=slow&${range}`, '#operations tbody tr'],
  '/map': [`focus=truth&${range}`, 'svg.map.wide .node'],
};
// What a slot that is not over says of its rate still changes.
await eventually('the end of the slot', () => Date.now() > (Math.floor(sent.to / SLOT) + 1) * SLOT);
for (const [path, [query, rows]] of Object.entries(SAME)) {
  await check(`5 ${path}: its address in a clean profile shows the same range, filters, order and rows`, async () => {
    const [one, other] = [await open(`${path}?${query}`), await open(`${path}?${query}`, { javaScriptEnabled: false })];
    const seen = async (page) => ({
      rows: await page.locator(rows).allTextContents(),
      asof: await page.textContent('.asof'),
      form: await page.locator('main form [name]').evaluateAll((fields) => fields.map((field) => `${field.name}=${field.value}`)),
    });
    const [first, second] = [await seen(one), await seen(other)];
    expect(first.rows.length > 0, 'no rows');
    const steady = (value) => JSON.stringify(value).replace(/[\d.]+\s(s|min)\sago|just now/g, 'ago');
    expect(steady(first) === steady(second), `${steady(first)} and ${steady(second)}`);
    for (const [name, value] of new URLSearchParams(query)) {
      expect(name === 'focus' || first.form.includes(`${name}=${value}`), `${name}=${value} is not in the form: ${first.form}`);
    }
    await one.context().close();
    await other.context().close();
  });
}

await check('5 "Keep this time" leads to an address that keeps it', async () => {
  const page = await open('/services/truth');
  await page.click('a.stay');
  await page.waitForURL(/from=.*to=/);
  const again = await open(page.url().slice(address.length));
  expect((await again.textContent('.asof')) === (await page.textContent('.asof')), 'another time');
  expect((await keys(again, '#operations tbody tr')).length === 2, 'not both operations');
  await page.context().close();
  await again.context().close();
});

await check('6 every drawing has a role, a title, and only numbers', async () => {
  for (const path of ['/', '/map', '/traces', '/status', '/services/truth', `/services/truth?${range}`, '/?window=1h', '/services/truth?window=1h']) {
    const page = await open(path);
    const { drawings, faults } = await page.evaluate(faultyDrawings);
    expect(faults.length === 0, `${path}: ${faults.slice(0, 3).join('; ')}`);
    expect(drawings > 0 || path === '/status', `${path} has no drawing`);
    await page.context().close();
  }
});

await check('6 the texts of drawings can be read on any screen', async () => {
  for (const width of WIDTHS) {
    for (const path of ['/services/truth', '/map', '/']) {
      const page = await open(path, { viewport: { width, height: 900 } });
      const { pixels, text } = await page.evaluate(smallestText);
      expect(pixels >= 9, `${path}, ${width} px: "${text}" is ${pixels.toFixed(1)} px high`);
      await page.context().close();
    }
  }
});

await check('6 the lines of a service say what their tables say', async () => {
  for (const window of [range, 'window=5m', 'window=1h']) {
    const page = await open(`/services/truth?${window}`);
    const charts = await page.evaluate(lineCharts);
    expect(charts.length >= 2, `${charts.length} lines`);
    const begins = new URLSearchParams(window).get('from')?.slice(11, 19) ?? '';
    expect(charts.every(({ axes }) => axes.includes(begins)), `the axis of time does not begin at ${begins}: ${charts[0].axes}`);
    for (const { title, top, points, texts } of charts) {
      const told = texts.flatMap((text, place) => (read(text) ? [{ place, value: read(text).value }] : []));
      expect(told.length > 0 && told.length === points.length, `${title}: ${points.length} points, ${told.length} numbers`);
      told.forEach(({ place, value }, at) => {
        const drawn = points[at].share * read(top).value;
        expect(points[at].place === place && Math.abs(drawn - value) <= 0.01 * read(top).value, `${title}: ${drawn} at ${points[at].place}, told ${value} at ${place}`);
      });
    }
    await page.context().close();
  }
});

await check('6 the heatmap counts what its table and the service count', async () => {
  const page = await open(`/services/truth?${range}`);
  const { drawn, told, sum } = await page.evaluate(heatmapCells);
  const sorted = (cells) => JSON.stringify([...cells].sort());
  expect(drawn.length > 1 && sorted(drawn) === sorted(told), 'drawing and table differ');
  expect(sum === truth.count && drawn.reduce((all, [, count]) => all + count, 0) === truth.count, `${sum} spans in the table`);
  await page.context().close();
});

const heat = (count, millis) => Array.from({ length: count }, () => ({ service: 'heat', name: 'GET /', nanos: millis * 1e6, traceId: newTraceId() }));
const early = [...heat(5, 5), ...heat(3, 80), ...heat(1, 900)];
const late = [...heat(2, 5), ...heat(4, 80)];

await check('7 a click on a cell of the heatmap lists its traces, and no other', async () => {
  // Not across the border of two slots, or nobody knows in which cell they are.
  await eventually('the beginning of a slot', () => Date.now() % SLOT < SLOT / 2);
  const sentEarly = await sendAndSee(early);
  await eventually('the next slot', () => Date.now() >= (Math.floor(sentEarly.to / SLOT) + 1) * SLOT);
  const sentLate = await sendAndSee(late);
  const both = slotsOf({ from: sentEarly.from, to: sentLate.to });
  for (const [spans, sent, millis] of [[early, sentEarly, 80], [early, sentEarly, 900], [late, sentLate, 80], [late, sentLate, 5]]) {
    const wanted = spans.filter((span) => span.nanos === millis * 1e6).map((span) => span.traceId).sort();
    const page = await open(`/services/heat?${both}`);
    const hrefs = await page.locator('svg.heatmap a').evaluateAll((cells) => cells.map((cell) => cell.getAttribute('href')));
    const at = hrefs.findIndex((href) => inCell(new URLSearchParams(href.split('?')[1]), sent, millis * 1e6));
    expect(at >= 0, `no cell for ${millis} ms`);
    await page.locator('svg.heatmap a').nth(at).click();
    await page.waitForURL(/\/traces\?/);
    const listed = (await keys(page, '#traces tbody tr')).sort();
    expect(listed.join() === wanted.join(), `${listed.length} traces of ${millis} ms listed, ${wanted.length} sent`);
    const query = new URL(page.url()).searchParams;
    const api = (await collector.api(`/traces?${query}`)).items.map((item) => item.trace_id).sort();
    expect(api.join() === listed.join(), 'the API lists others');
    for (const id of listed) {
      const { spans: found } = await collector.api(`/traces/${id}`);
      expect(found.some((span) => span.service === 'heat' && inBand(query, Math.round(span.duration * 1e9))), `${id} is not in the cell`);
    }
    await page.context().close();
  }
});

const { traceId, spans: rows } = largeTrace(2000);

await check('8 a trace of 2,000 spans: to be used within 1 s, one row a span', async () => {
  await collector.send(requestOf(rows));
  await eventually('all its spans', async () => (await collector.api(`/traces/${traceId}`).catch(() => undefined))?.spans.length === rows.length);
  const took = await quickest(1000, async () => {
    const page = await open('/status');
    const worked = await stopwatch(page);
    await page.goto(`${address}/traces/${traceId}`, { waitUntil: 'commit' });
    await page.locator(`details.span[data-key="${rows[3].spanId}"] > summary`).click();
    await page.waitForSelector(`details.span[data-key="${rows[3].spanId}"][open] .facts`);
    const used = await worked();
    await page.context().close();
    return used;
  });
  const page = await open(`/traces/${traceId}`);
  const shown = (await keys(page, '#spans .span')).sort();
  expect(shown.join() === rows.map((span) => span.spanId).sort().join(), `${shown.length} rows`);
  await page.context().close();
  tell('a trace of 2,000 spans can be used', took, 1000);
});

await check('8 a trace: children inside their parents, failures in words, the critical path marked', async () => {
  const page = await open(`/traces/${traceId}`);
  const bars = Object.fromEntries(await page.evaluate(barsOfRows));
  for (const span of rows.filter((row) => row.parent)) {
    const [own, parent] = [bars[span.spanId], bars[span.parent]];
    expect(own.from >= parent.from - 0.002 && own.to <= parent.to + 0.002, `${span.name}: ${own.from} to ${own.to} % in ${parent.from} to ${parent.to} %`);
  }
  const failed = page.locator(`.span[data-key="${rows[5].spanId}"]`);
  expect((await failed.locator('summary').textContent()).includes('error'), 'the failed row does not say so');
  await failed.locator('summary').click();
  await failed.locator('.failure').waitFor();
  expect((await failed.textContent()).includes('card declined'), 'the error has no text');
  const critical = (await collector.api(`/traces/${traceId}`)).spans.filter((span) => span.critical).map((span) => span.span_id);
  const marked = await keys(page, '.span.critical-row');
  expect(critical.length > 1 && critical.length < rows.length && marked.sort().join() === critical.sort().join(), `${marked.length} rows marked, ${critical.length} critical`);
  noFault(page);
  await page.context().close();
});

await check('9 whatever takes the focus shows it', async () => {
  for (const path of ['/', '/services/truth', '/map', '/traces', `/traces/${traceId}`, '/status']) {
    const page = await open(path);
    for (let step = 0; step < 30; step += 1) {
      await page.keyboard.press('Tab');
      const hidden = await page.evaluate(invisibleFocus);
      expect(!hidden, `${path}: ${hidden}`);
    }
    await page.context().close();
  }
});

await check('10 the map: a service that nobody calls is there, a call is a line, and a focus leaves its ends', async () => {
  const [trace, client] = [newTraceId(), newSpanId()];
  await sendAndSee([
    { service: 'front', name: 'GET /', nanos: 30e6, traceId: trace, spanId: client, kind: 3 },
    { service: 'behind', name: 'GET /', nanos: 20e6, traceId: trace, parent: client },
  ]);
  await eventually('the call', async () => (await collector.api('/map')).edges.length === 1);
  for (const [width, drawing] of [[1440, 'wide'], [375, 'narrow']]) {
    const page = await open('/map', { viewport: { width, height: 900 } });
    const nodes = await page.locator(`svg.map.${drawing}:visible .node`).allTextContents();
    const shows = (name) => nodes.some((text) => text.includes(name));
    expect(['truth', 'heat', 'front', 'behind'].every(shows), `${width} px: ${nodes.join()}`);
    expect((await page.locator(`svg.map.${drawing} path.edge`).count()) === 1, 'not one line');
    await page.goto(`${address}/map?focus=behind`);
    const left = await page.locator(`svg.map.${drawing} .node`).count();
    expect(left === 2, `a focus leaves ${left} nodes`);
    await page.goto(`${address}/map?focus=truth`);
    expect((await page.locator(`svg.map.${drawing} .node`).count()) === 1, 'a lone service cannot be looked at');
    await page.context().close();
  }
});

await check('12 a restart: the page says that it is disconnected, and goes on by itself', async () => {
  const page = await open('/');
  await page.waitForSelector('#live[data-state="on"]');
  await page.evaluate(() => { window.sameDocument = true; });
  // Twice: the second time both collectors have seen exactly one batch, which must not look like the same state.
  for (const [before, after] of [['truth', 'after'], ['after', 'again']]) {
    await collector.stop();
    await page.waitForSelector('#live[data-state="off"]');
    expect((await page.textContent('#live')).includes('disconnected'), 'not told in words');
    expect((await page.locator(`#services tr[data-key="${before}"]`).count()) === 1, 'the last numbers are gone');
    await collector.start();
    await collector.send(requestOf([{ service: after, name: 'GET /', nanos: 5e6 }]));
    await page.waitForSelector('#live[data-state="on"]');
    await page.waitForSelector(`#services tr[data-key="${after}"]`);
    expect((await page.locator(`#services tr[data-key="${before}"]`).count()) === 0, 'numbers of before the restart stay');
    expect(!(await page.textContent('#live')).includes('disconnected'), 'still said to be disconnected');
  }
  expect(await page.evaluate(() => window.sameDocument), 'the page was loaded anew');
  const others = page.faults.filter((fault) => !/ERR_(CONNECTION|INCOMPLETE|EMPTY_RESPONSE)/.test(fault));
  expect(others.length === 0, others.join('; '));
  await page.context().close();
});

await browser.close();
await collector.stop();
finish();

/** Whether a cell of the heatmap, as the address it leads to says, has spans that were sent then and took so long. */
function inCell(query, sent, nanos) {
  return Date.parse(query.get('from')) <= sent.from && sent.to < Date.parse(query.get('to')) && inBand(query, nanos);
}

function inBand(query, nanos) {
  return parseInt(query.get('span_min'), 10) <= nanos && nanos <= parseInt(query.get('span_max'), 10);
}

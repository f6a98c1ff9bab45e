// Starts the installed Chromium and finds the pages of a running collector. Used by checks.mjs,
// acceptance.mjs and screenshots.mjs.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

export const SCHEMES = ['light', 'dark'];
export const WIDTHS = [1440, 375];

/** The collector's address from the command line, without a slash at its end. */
export const addressOf = (argument, usage) => {
  if (!argument || !/^https?:\/\//.test(argument)) {
    console.error(`usage: ${usage}`);
    process.exit(2);
  }
  return argument.replace(/\/+$/, '');
};

/** Chromium of this machine: nothing is downloaded, and it talks to nobody but the pages' origin. */
export const launch = () => {
  const candidates = [process.env.BELLWETHER_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  const executablePath = candidates.find((path) => path && existsSync(path));
  if (!executablePath) {
    console.error('no Chromium found: install it, or name it in BELLWETHER_CHROMIUM');
    process.exit(2);
  }
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
};

/** Fails the check that runs, saying `message`. */
export const expect = (condition, message) => {
  if (!condition) throw new Error(message);
};

/** Runs and prints checks, one after the other; `finish` ends the program, with 1 when one failed. */
export const checks = () => {
  let failed = 0;
  const check = async (name, run) => {
    try {
      await run();
      console.log(`ok      ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}: ${error.message.split('\n')[0]}`);
    }
  };
  const finish = () => {
    console.log(failed === 0 ? 'all checks passed' : `${failed} checks failed`);
    process.exit(failed === 0 ? 0 : 1);
  };
  return { check, finish };
};

/** A page of a clean profile that takes note of every console error and of every request to another origin. */
export const openPage = async (browser, address, path, options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.faults = [];
  page.on('console', (message) => {
    if (message.type() === 'error') page.faults.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => page.faults.push(`script: ${error.message}`));
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(`${address}/`) && !url.startsWith('data:')) page.faults.push(`other origin: ${url}`);
  });
  await page.goto(address + path, { waitUntil: 'load' });
  return page;
};

/** The pages worth a look, found through the API: the busiest service, and the most telling trace. */
export const findPages = async (address) => {
  const ask = async (path) => {
    const answer = await fetch(address + path);
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
    return answer.json();
  };
  const services = (await ask('/api/v1/services')).items;
  const widest = await widestGap(ask);
  const through = widest ? `&service=${encodeURIComponent(widest.server)}` : '';
  const traces = (await ask(`/api/v1/traces?limit=200${through}`)).items;
  if (services.length === 0 || traces.length === 0) {
    throw new Error('the collector has no data: send it some traffic first');
  }
  const busiest = services.reduce((best, item) => (item.rate > best.rate ? item : best));
  return {
    services: '/',
    service: `/services/${encodeURIComponent(busiest.service)}`,
    map: '/map',
    edge: widest ? `/edges?client=${encodeURIComponent(widest.client)}&server=${encodeURIComponent(widest.server)}` : '/map',
    traces: '/traces?order=slowest',
    waterfall: `/traces/${traces.sort(mostTelling(widest))[0].trace_id}`,
    status: '/status',
  };
};

/** The call that the network costs most, when any gap is known. */
const widestGap = async (ask) => {
  const edges = (await ask('/api/v1/map')).edges.filter((edge) => edge.gap_p50 !== null);
  return edges.reduce((best, edge) => (edge.gap_p50 > (best?.gap_p50 ?? 0) ? edge : best), undefined);
};

/** Orders traces: many services first, then those that fit on a screen, did not fail, in which the widest gap stands
    out, and that have many spans. */
const mostTelling = (widest) => (a, b) => {
  const fits = (trace) => Number(trace.spans <= 16);
  const standsOut = (trace) => Number(trace.duration < 2 * (widest?.gap_p50 ?? 0));
  return (
    b.services - a.services || fits(b) - fits(a) || Number(a.error) - Number(b.error) || standsOut(b) - standsOut(a) || b.spans - a.spans
  );
};

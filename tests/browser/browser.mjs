// Starts the installed Chromium and finds the pages of a running collector. Used by checks.mjs and screenshots.mjs.
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

/** The pages worth a look, found through the API: the busiest service, the trace with the most services. */
export const findPages = async (address) => {
  const ask = async (path) => {
    const answer = await fetch(address + path);
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
    return answer.json();
  };
  const services = (await ask('/api/v1/services')).items;
  const traces = (await ask('/api/v1/traces?limit=200')).items;
  if (services.length === 0 || traces.length === 0) {
    throw new Error('the collector has no data: send it some traffic first');
  }
  const busiest = services.reduce((best, item) => (item.rate > best.rate ? item : best));
  const width = (trace) => trace.services * 1000 + Math.min(trace.spans, 500);
  const widest = traces.reduce((best, item) => (width(item) > width(best) ? item : best));
  return {
    services: '/',
    service: `/services/${encodeURIComponent(busiest.service)}`,
    map: '/map',
    traces: '/traces?order=slowest',
    waterfall: `/traces/${widest.trace_id}`,
    status: '/status',
  };
};

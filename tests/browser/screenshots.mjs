// node screenshots.mjs URL DIRECTORY: pictures of the pages of a running collector with data in it, those of docs/images.
// Of every page one in light and one in dark, 1440 px wide, and one 375 px wide; map and waterfall, which the README
// shows, have the bare name in light and are cut where what matters ends.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { addressOf, findPages, launch } from './browser.mjs';

const usage = 'node screenshots.mjs http://127.0.0.1:4319 DIRECTORY';
const address = addressOf(process.argv[2], usage);
const directory = process.argv[3];
if (!directory) {
  console.error(`usage: ${usage}`);
  process.exit(2);
}

/** Where a picture of the README ends: with the last line of this element. */
const LAST = { map: '#edges', waterfall: '#spans' };
const HEIGHT = 900;
const LOOKS = [
  { colorScheme: 'light', width: 1440, suffix: (name) => (name in LAST ? '' : '-light') },
  { colorScheme: 'dark', width: 1440, suffix: () => '-dark' },
  { colorScheme: 'light', width: 375, suffix: () => '-375' },
];

/** What a picture shows: down to the end of the content, or of a screen where the content is longer. */
const clipOf = async (page, name, width) => {
  const bottom = await page.evaluate((last) => {
    const end = document.querySelector(last ?? 'main');
    const padding = last ? 0 : parseFloat(getComputedStyle(end).paddingBottom);
    return Math.ceil(end.getBoundingClientRect().bottom - padding + 24);
  }, LAST[name]);
  return { x: 0, y: 0, width, height: Math.min(bottom, HEIGHT) };
};

const pages = await findPages(address);
await mkdir(directory, { recursive: true });
const browser = await launch();
try {
  for (const { colorScheme, width, suffix } of LOOKS) {
    const context = await browser.newContext({ colorScheme, viewport: { width, height: HEIGHT }, reducedMotion: 'reduce' });
    const page = await context.newPage();
    for (const [name, path] of Object.entries(pages)) {
      await page.goto(address + path, { waitUntil: 'load' });
      const file = join(directory, `${name}${suffix(name)}.png`);
      await page.screenshot({ path: file, clip: await clipOf(page, name, width) });
      console.log(file);
    }
    await context.close();
  }
} finally {
  await browser.close();
}

// node screenshots.mjs URL DIRECTORY: pictures of the pages of a running collector with data in it.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SCHEMES, WIDTHS, addressOf, findPages, launch } from './browser.mjs';

const usage = 'node screenshots.mjs http://127.0.0.1:4319 DIRECTORY';
const address = addressOf(process.argv[2], usage);
const directory = process.argv[3];
if (!directory) {
  console.error(`usage: ${usage}`);
  process.exit(2);
}

const pages = await findPages(address);
await mkdir(directory, { recursive: true });
const browser = await launch();
try {
  for (const colorScheme of SCHEMES) {
    for (const width of WIDTHS) {
      const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 }, reducedMotion: 'reduce' });
      const page = await context.newPage();
      for (const [name, path] of Object.entries(pages)) {
        await page.goto(address + path, { waitUntil: 'load' });
        const file = join(directory, `${name}-${colorScheme}-${width}.png`);
        await page.screenshot({ path: file });
        console.log(file);
      }
      await context.close();
    }
  }
} finally {
  await browser.close();
}

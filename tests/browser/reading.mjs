// What a page shows, read as a person reads it: numbers with their units, cells by their heading, charts by what is
// drawn. Used by acceptance.mjs.

const FACTORS = {
  ns: 1e-9, 'µs': 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, '/s': 1, '/min': 1 / 60, 'k/s': 1e3, 'M/s': 1e6, '%': 0.01,
};

/** The first number of a text and what its unit makes of it: seconds, a second, or a share; undefined without one. */
export const read = (text) => {
  const [, digits, unit] = /([\d.]+)\s*([^\s\d]+)/.exec(text) ?? [];
  if (!(unit in FACTORS)) return undefined;
  return { number: Number(digits), factor: FACTORS[unit], value: Number(digits) * FACTORS[unit] };
};

/** Whether a text is this value, to the three digits that the pages show. */
export const isShown = (text, value) => {
  const shown = read(text);
  return shown !== undefined && Math.abs(shown.number - Number((value / shown.factor).toPrecision(3))) < 1e-9;
};

/** The cells of a row of a table, by the first word of their heading. */
export const cellsOf = (page, table, key) =>
  page.locator(`${table} tr[data-key="${key}"]`).evaluate((row) => {
    const headings = [...row.closest('table').tHead.rows].at(-1).cells;
    return Object.fromEntries([...row.cells].map((cell, at) => [headings[at].textContent.trim().split(/[^\w.]/)[0], cell.textContent]));
  });

/** The figures above the tables, by their labels. */
export const figuresOf = (page) =>
  page.locator('.figure').evaluateAll((figures) =>
    Object.fromEntries(figures.map((figure) => [figure.querySelector('dt').textContent, figure.querySelector('.value').textContent])));

/** Runs in the page: what is wrong with its drawings: without a role or a title, or with a number that is none. */
export function faultyDrawings() {
  const main = document.querySelector('main');
  const outer = [...main.querySelectorAll('svg')].filter((svg) => !svg.parentNode.closest('svg'));
  const faults = [];
  for (const svg of outer.filter((svg) => svg.getAttribute('aria-hidden') !== 'true')) {
    const name = svg.getAttribute('class') ?? 'a drawing';
    const title = [...svg.children].find((child) => child.localName === 'title')?.textContent.trim();
    if (svg.getAttribute('role') !== 'img') faults.push(`${name} has no role`);
    if (!title) faults.push(`${name} has no title`);
  }
  for (const element of main.querySelectorAll('*')) {
    for (const { name, value } of element.attributes) {
      const drawn = element instanceof SVGElement ? value : '';
      if (/NaN|undefined|Infinity/.test(drawn)) faults.push(`${element.localName} ${name}="${value.slice(0, 40)}"`);
    }
  }
  return { drawings: outer.length, faults };
}

/** Runs in the page: the smallest text that can be seen in a drawing, in pixels of the screen. */
export function smallestText() {
  let smallest = { pixels: Infinity, text: '' };
  for (const text of document.querySelectorAll('main svg text')) {
    if (!text.textContent.trim() || !text.checkVisibility()) continue;
    const pixels = parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().d;
    if (pixels < smallest.pixels) smallest = { pixels, text: text.textContent };
  }
  return smallest;
}

/** Runs in the page: every line chart: the text at the top of its axis, all its texts, the heights of its points as
    shares of the axis, by the number of their place, and the texts of its table. */
export function lineCharts() {
  return [...document.querySelectorAll('svg.line')].map((svg) => {
    const plot = svg.querySelector('path:not(defs path)');
    const grid = [...svg.querySelectorAll('line.grid')].map((line) => ({
      y: Number(line.getAttribute('y1')), width: line.getAttribute('x2') - line.getAttribute('x1'),
    }));
    const bottom = Math.max(...grid.map(({ y }) => y));
    const top = Math.min(...grid.map(({ y }) => y));
    const axis = [...svg.querySelectorAll('text.axis')].find((text) => Number(text.getAttribute('y')) === top);
    const texts = [...svg.closest('figure').querySelectorAll('tbody tr')].map((row) => row.cells[1].textContent);
    const step = grid[0].width / Math.max(1, texts.length - 1);
    const points = [...(plot?.getAttribute('d') ?? '').matchAll(/[ML]([-\d.]+) ([-\d.]+)/g)].map(([, x, y]) => ({
      place: Math.round(x / step), share: (bottom - y) / (bottom - top),
    }));
    return { title: svg.querySelector('title').textContent, top: axis.textContent, axes: svg.textContent, points, texts };
  });
}

/** Runs in the page: the cells of the heatmap by where they lead: the spans that the drawing's cell tells, and the
    table's. */
export function heatmapCells() {
  const number = (text) => Number(text.replaceAll(',', ''));
  const drawn = [...document.querySelectorAll('svg.heatmap a')].map((cell) => [
    cell.getAttribute('href'), number(/([\d,]+)\sspans?$/.exec(cell.querySelector('title').textContent)[1]),
  ]);
  const rows = [...document.querySelectorAll('#heatmap table tbody tr')];
  const told = rows.flatMap((row) => [...row.querySelectorAll('td a')].map((cell) => [cell.getAttribute('href'), number(cell.textContent)]));
  const sums = rows.map((row) => number(row.cells[1].textContent));
  return { drawn, told, sum: sums.reduce((sum, count) => sum + count, 0) };
}

/** Runs in the page: where the bar of each row begins and ends, in percent of the axis. */
export function barsOfRows() {
  return [...document.querySelectorAll('#spans .span')].map((row) => {
    const pieces = [...row.querySelectorAll('.span-bar rect:is(.work, .call, .network)')].map((piece) => {
      const from = parseFloat(piece.getAttribute('x'));
      return { from, to: from + parseFloat(piece.getAttribute('width')) };
    });
    return [row.dataset.key, { from: Math.min(...pieces.map((piece) => piece.from)), to: Math.max(...pieces.map((piece) => piece.to)) }];
  });
}

/** Runs in the page: what has the focus without showing it; nothing where the focus can be seen, or is nowhere. */
export function invisibleFocus() {
  const at = document.activeElement;
  if (!at || at === document.body) return undefined;
  const style = getComputedStyle(at);
  const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
  return outlined ? undefined : at.outerHTML.slice(0, 80);
}

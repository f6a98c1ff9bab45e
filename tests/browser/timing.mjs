// How long something takes, on a machine that may be slow or busy with other things, too. Used by acceptance.mjs and
// checks.mjs.

/** A time that has to be kept is measured so often, and the best one counts: the machine may be busy with others. */
const TRIES = 6;

/** The quickest of a few tries, in milliseconds. */
export const quickest = async (limit, attempt) => {
  let best = Infinity;
  for (let tried = 0; tried < TRIES && best > limit; tried += 1) best = Math.min(best, await attempt());
  return best;
};

/**
 * Measures from now on; what it gives tells the milliseconds until the page that is then there could be used: those of the
 * clock, or where the machine did other things meanwhile, those of the processor that the page itself needed.
 */
export const stopwatch = async (page) => {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  const worked = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    return 1000 * metrics.find((metric) => metric.name === 'TaskDuration').value;
  };
  const [start, before] = [performance.now(), await worked()];
  return async () => Math.min(performance.now() - start, (await worked()) - before);
};

/** What is told of a time that has a goal, and is a fault only where it is far beyond: machines differ. */
const FAR_BEYOND = 4;

/** Prints what something took, in milliseconds. */
export const tell = (what, took, goal) => {
  console.log(`        ${what} after ${took.toFixed(0)} ms; the goal is ${goal} ms`);
  if (took > FAR_BEYOND * goal) throw new Error(`it took ${took.toFixed(0)} ms`);
};

// How long the frames of a page take while something is done. What counts is the time
// between two frames, and what keeps the page's one thread busy for longer than 50 ms.

import type { Page } from "@playwright/test";

export interface Frames {
  n: number;
  p50: number;
  p95: number;
  max: number;
  /** Frames above the limit. */
  slow: number;
  /** Longest task of the page's thread; 0 when none took longer than 50 ms. */
  longTask: number;
}

/** The limit, in milliseconds. */
export const LIMIT_MS = 50;

interface Recorder {
  deltas: number[];
  tasks: number[];
  stop: () => void;
}

export async function frames(page: Page, act: () => Promise<void>): Promise<Frames> {
  await page.evaluate(() => {
    const deltas: number[] = [];
    const tasks: number[] = [];
    let last = performance.now();
    let isOver = false;
    const tick = (now: number) => {
      deltas.push(now - last);
      last = now;
      if (!isOver) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    const observer = new PerformanceObserver((list) =>
      tasks.push(...list.getEntries().map(({ duration }) => duration)),
    );
    observer.observe({ entryTypes: ["longtask"] });
    const recorder: Recorder = { deltas, tasks, stop: () => ((isOver = true), observer.disconnect()) };
    Object.assign(window, { recorder });
  });
  await act();
  const { deltas, tasks } = await page.evaluate(() => {
    const { recorder } = window as unknown as { recorder: Recorder };
    recorder.stop();
    return { deltas: recorder.deltas.slice(1), tasks: recorder.tasks };
  });
  const sorted = deltas.sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
  return {
    n: sorted.length,
    p50: at(0.5),
    p95: at(0.95),
    max: at(1),
    slow: sorted.filter((delta) => delta > LIMIT_MS).length,
    longTask: Math.max(0, ...tasks),
  };
}

export function row(name: string, { n, p50, p95, max, slow, longTask }: Frames): string {
  const ms = (value: number) => `${value.toFixed(1).padStart(7)} ms`;
  return `${name.padEnd(34)} ${String(n).padStart(5)} frames  p50 ${ms(p50)}  p95 ${ms(p95)}  max ${ms(max)}  over ${LIMIT_MS} ms: ${slow}  longest task ${ms(longTask)}`;
}

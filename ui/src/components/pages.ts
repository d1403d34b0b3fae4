// A list that comes in pages: what is there, and where the next page begins. Pure.

export interface Pages<T> {
  items: T[];
  /** Absent on the last page. */
  next: string | null;
}

export const NONE: Pages<never> = { items: [], next: null };

/** With one more page; a row that moved while paging is not there twice. */
export function withPage<T>(
  pages: Pages<T>,
  more: { items: T[]; next?: string | null },
  key: (item: T) => string,
): Pages<T> {
  const known = new Set(pages.items.map(key));
  return { items: [...pages.items, ...more.items.filter((item) => !known.has(key(item)))], next: more.next ?? null };
}

/** The newest page on top of what was loaded: what is new comes first, what is known stays. */
export function withNewest<T>(
  pages: Pages<T>,
  newest: { items: T[]; next?: string | null },
  key: (item: T) => string,
): Pages<T> {
  if (pages.items.length <= newest.items.length) return { items: newest.items, next: newest.next ?? null };
  const fresh = new Set(newest.items.map(key));
  return { items: [...newest.items, ...pages.items.filter((item) => !fresh.has(key(item)))], next: pages.next };
}

export function without<T>(pages: Pages<T>, gone: string, key: (item: T) => string): Pages<T> {
  return { ...pages, items: pages.items.filter((item) => key(item) !== gone) };
}

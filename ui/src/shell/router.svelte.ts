// The window's address as state. Deliberately absent: history beyond what the browser keeps.

import { href, parseRoute, type Route, type Screen } from "./route";

class Router {
  current = $state.raw<Route>(parseRoute(location.hash));

  constructor() {
    addEventListener("hashchange", () => (this.current = parseRoute(location.hash)));
  }

  go(screen: Screen, item = "", query: Record<string, string> = {}) {
    location.hash = href(screen, item, query);
  }

  /** Changes the query without a new entry in the history, as typing does. */
  refine(query: Record<string, string>) {
    const { screen, item } = this.current;
    history.replaceState(null, "", href(screen, item, query));
    this.current = parseRoute(location.hash);
  }
}

export const router = new Router();

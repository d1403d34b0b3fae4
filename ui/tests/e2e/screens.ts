// Every screen and state of the made-up window, once, for axe and for pictures.

export interface Look {
  name: string;
  /** Query and hash of `gallery.html`. */
  at: string;
  /** Something that is there when the screen has settled, by its role and name. */
  ready: {
    role: "heading" | "alert" | "dialog" | "progressbar" | "link" | "switch" | "button" | "status";
    name: RegExp;
  };
}

const FULL: Look[] = [
  { name: "talk", at: "#/talk", ready: { role: "button", name: /hold to talk/i } },
  { name: "talk-listening", at: "?talk=listening#/talk", ready: { role: "button", name: /thinking/i } },
  { name: "talk-speaking", at: "?talk=speaking#/talk", ready: { role: "button", name: /speaking/i } },
  { name: "talk-done", at: "?talk=done#/talk", ready: { role: "button", name: /hold to talk/i } },
  { name: "talk-failed", at: "?talk=failed#/talk", ready: { role: "button", name: /hold to talk/i } },
  { name: "sessions", at: "#/sessions", ready: { role: "link", name: /light in the kitchen/i } },
  { name: "sessions-detail", at: "#/sessions/s-6?turn=t-6-0", ready: { role: "button", name: /hide what happened/i } },
  { name: "sessions-search", at: "#/sessions?q=timer", ready: { role: "link", name: /timer/i } },
  { name: "skills", at: "#/skills", ready: { role: "link", name: /weather/i } },
  { name: "skills-detail", at: "#/skills/weather", ready: { role: "switch", name: /internet/i } },
  { name: "prompt", at: "?prompt#/talk", ready: { role: "dialog", name: /asks/i } },
  { name: "audit", at: "#/audit", ready: { role: "link", name: /row 1240/i } },
  { name: "audit-row", at: "#/audit/1234", ready: { role: "heading", name: /^chain$/i } },
  { name: "latency", at: "#/latency", ready: { role: "heading", name: /last turns/i } },
  { name: "models", at: "#/models", ready: { role: "heading", name: /starter ears/i } },
  { name: "nodes", at: "#/nodes", ready: { role: "heading", name: /speech recognition/i } },
  { name: "settings", at: "#/settings", ready: { role: "heading", name: /stt/i } },
  { name: "about", at: "#/about", ready: { role: "heading", name: /bug report/i } },
  { name: "login", at: "?state=login#/talk", ready: { role: "heading", name: /log in/i } },
];

const SCREENS = ["sessions", "skills", "audit", "latency", "models", "nodes"];

const STATES: Look[] = [
  ...SCREENS.map((screen) => ({
    name: `${screen}-empty`,
    at: `?state=empty#/${screen}`,
    ready: { role: "heading" as const, name: /^no /i },
  })),
  ...[...SCREENS, "settings"].map((screen) => ({
    name: `${screen}-error`,
    at: `?state=error#/${screen}`,
    ready: { role: "alert" as const, name: /.*/ },
  })),
  ...[...SCREENS, "settings"].map((screen) => ({
    name: `${screen}-slow`,
    at: `?state=slow#/${screen}`,
    ready: { role: "progressbar" as const, name: /loading/i },
  })),
  { name: "talk-offline", at: "?state=offline#/talk", ready: { role: "button", name: /offline/i } },
];

/** Whether a look is of a state that others share; one theme is enough for those. */
export const isState = (look: Look) => STATES.includes(look);
export const LOOKS: Look[] = [...FULL, ...STATES];
export const PICTURES: Look[] = [...FULL, ...STATES.filter(({ name }) => /sessions-|talk-|latency-empty/.test(name))];

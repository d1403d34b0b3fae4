// What goes into a bug report: versions and states, nothing that anybody said. Pure.

import type { Status } from "../backend";

export function report(status: Status, browser: string): string {
  const lines = [
    `Loqa ${status.version}`,
    `uptime ${Math.round(status.uptime_ms / 1000)} s`,
    `engines ${status.capabilities.map((name) => `${name}${status.ready.includes(name) ? "" : " (missing)"}`).join(", ")}`,
    `skills ${status.skills.join(", ")}`,
    `audit ${status.audit.failing ? "failing" : "ok"}, ${status.audit.waiting} waiting, ${status.audit.lost} lost`,
    `browser ${browser}`,
  ];
  return `${lines.join("\n")}\n`;
}

// The few words of WebDriver that the test needs, over HTTP. Elements are found as a person
// finds them: by what they are and what they are called. Deliberately absent: waiting for a
// time; everything waits for a condition.

import { request } from "node:http";

/** Patience for anything on a busy machine, in milliseconds. */
export const PATIENCE = 60_000;
/** One command may load a page or wait for a paint. Chosen. */
const COMMAND_MS = 60_000;
const ELEMENT = "element-6066-11e4-a52e-4f735466cecf";

export class WebDriverError extends Error {
  constructor({ error, message }) {
    super(`${error}: ${message}`);
    this.code = error;
  }
}

/** Asks again until the answer is neither false nor nothing; tells the last trouble when it never is. */
export async function until(what, ask, patience = PATIENCE) {
  const end = Date.now() + patience;
  let last = "it never held";
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer;
    } catch (error) {
      last = error.message;
      // Nothing comes of an app that is gone.
      if (["invalid session id", "ECONNREFUSED"].includes(error.code)) throw new Error(`${what}: the app or its driver is gone: ${last}`, { cause: error });
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${patience / 1000} s: ${last}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** A driver that has started the app. */
export class Driver {
  #base;

  constructor(port) {
    this.#base = { host: "127.0.0.1", port };
    this.prefix = "";
  }

  /** Starts the app and takes its first web view. */
  async start(binary, args = []) {
    // No browser name: the driver knows one of its own, and refuses every other.
    const alwaysMatch = { "webkitgtk:browserOptions": { binary, args } };
    const { sessionId } = await this.send("POST", "/session", { capabilities: { alwaysMatch } }, 180_000);
    this.prefix = `/session/${sessionId}`;
    // A question to the page may take as long as anything else.
    await this.send("POST", "/timeouts", { script: COMMAND_MS, pageLoad: COMMAND_MS, implicit: 0 });
  }

  /** Ends the session, and with it the app if it still runs. */
  end() {
    return this.send("DELETE", "");
  }

  handles() {
    return this.send("GET", "/window/handles");
  }

  handle() {
    return this.send("GET", "/window");
  }

  switchTo(handle) {
    return this.send("POST", "/window", { handle });
  }

  url() {
    return this.send("GET", "/url");
  }

  /** Of a window that is shown; of one that is hidden there never is one. */
  async screenshot() {
    return Buffer.from(await this.send("GET", "/screenshot", undefined, 10_000), "base64");
  }

  /** Runs a function in the page, with JSON arguments. */
  run(script, ...args) {
    return this.send("POST", "/execute/sync", { script: `return (${script}).apply(null, arguments)`, args });
  }

  /** Turns to the window whose address has this page, and answers its handle. */
  async window(page) {
    return until(`a window that shows ${page}`, async () => {
      for (const handle of await this.handles()) {
        await this.switchTo(handle);
        if (new URL(await this.url()).pathname.endsWith(page)) return handle;
      }
      return null;
    });
  }

  /** The one visible element of a kind with a name; waits for it. */
  find(kind, name, within = null) {
    return until(`${kind} "${name}"`, async () => {
      const found = await this.run(String(FIND), kind, name, within);
      return found?.[ELEMENT] ? found : null;
    });
  }

  /** Whether it is there at this moment. */
  async has(kind, name) {
    return Boolean(await this.run(String(FIND), kind, name, null));
  }

  async click(kind, name) {
    await until(`a click on ${kind} "${name}"`, async () => {
      const found = await this.run(String(FIND), kind, name, null);
      if (!found) return false;
      // The driver brings into sight what the page scrolls, but not what a part of it does.
      await this.run("(element) => element.scrollIntoView({ block: 'center', behavior: 'instant' })", found);
      await this.send("POST", `/element/${found[ELEMENT]}/click`, {});
      return true;
    });
  }

  /** Types into a field as a keyboard does; `\uE007` is Enter. */
  async type(label, text) {
    const field = await this.find("field", label);
    await this.send("POST", `/element/${field[ELEMENT]}/clear`, {});
    await this.send("POST", `/element/${field[ELEMENT]}/value`, { text });
  }

  /** A path into the field that takes files; it may be invisible. */
  async giveFile(css, path) {
    const field = await until(css, () => this.send("POST", "/element", { using: "css selector", value: css }));
    await this.send("POST", `/element/${field[ELEMENT]}/value`, { text: path });
  }

  text() {
    return this.run("() => document.body.innerText");
  }

  /** Waits until the page says it. @param {RegExp} words */
  sees(words, patience) {
    return until(
      `the page says ${words}`,
      async () => {
        const text = await this.text();
        const found = words.exec(text);
        if (!found) throw new Error(`it says:\n${text.slice(0, 1500)}`);
        return found;
      },
      patience,
    );
  }

  send(method, path, body, patience = COMMAND_MS) {
    const text = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const headers = text === undefined ? {} : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) };
      const asked = request({ ...this.#base, method, path: this.prefix + path, headers, timeout: patience }, (answer) => {
        let out = "";
        answer.setEncoding("utf8").on("data", (more) => (out += more));
        answer.on("error", reject).on("end", () => {
          try {
            const { value } = JSON.parse(out);
            if (answer.statusCode === 200) resolve(value);
            else reject(new WebDriverError(value));
          } catch {
            reject(new Error(`the driver's answer to ${method} ${path} is no JSON: ${out.slice(0, 200)}`));
          }
        });
      });
      asked.on("timeout", () => asked.destroy(new Error(`the driver gave no answer to ${method} ${path} within ${patience / 1000} s`)));
      asked.on("error", reject);
      asked.end(text);
    });
  }
}

/** Runs in the page: the first visible element of a kind that is called so. */
function FIND(kind, name, within) {
  const kinds = {
    button: "button, [role=button], summary",
    switch: "[role=switch]",
    link: "a[href]",
    heading: "h1, h2, h3, h4",
    field: "input, textarea, select",
    dialog: "dialog[open], [role=dialog], [role=alertdialog]",
    list: "ul, ol, [role=list]",
    region: "section, [role=region]",
    table: "table",
  };
  const isVisible = (element) => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== "hidden";
  const called = (element) => {
    const by = element.getAttribute("aria-labelledby");
    const labels = by ? by.split(" ").map((id) => document.getElementById(id)) : [...(element.labels ?? [])];
    return element.getAttribute("aria-label") ?? (labels.length > 0 ? labels.map((label) => label?.textContent ?? "").join(" ") : element.textContent);
  };
  const tidy = (text) => (text ?? "").replace(/\s+/g, " ").trim();
  const root = within ? document.querySelector(within) : document;
  const all = root ? [...root.querySelectorAll(kinds[kind] ?? kind)].filter(isVisible) : [];
  if (name.startsWith("/")) return all.find((element) => new RegExp(name.slice(1, -1), "i").test(tidy(called(element)))) ?? null;
  return all.find((element) => tidy(called(element)) === name) ?? null;
}

// What set-up says: progress while something takes long, and a summary. With
// `--json` everything for people goes to standard error and the last line of
// standard output is one object.

/**
 * @param {{json?: boolean, quiet?: boolean, out?: {write: Function}, err?: {write: Function}}} [options]
 *   `quiet`: on standard error, and only what changed or is missing
 */
export function createReport({ json = false, quiet = false, out = process.stdout, err = process.stderr } = {}) {
  const people = json || quiet ? err : out;
  const started = Date.now();
  return {
    json,
    /** Something that takes long has begun or goes on. */
    progress(text) {
      people.write(`  … ${text}\n`);
    },
    /** Something odd that set-up works around. */
    warn(text) {
      err.write(`  ! ${text.replace(/\n/g, "\n    ")}\n`);
    },
    /** One finished step. */
    step({ name, state, detail }) {
      if (quiet && state === "ok") return;
      const mark = { ok: "✓", done: "+", missing: "✗" }[state];
      people.write(`  ${mark} ${name.padEnd(16)} ${detail}\n`);
    },
    title(text) {
      if (quiet) return;
      people.write(`${text}\n`);
    },
    /** The last word. */
    finish(result) {
      const seconds = (Date.now() - started) / 1000;
      if (json) out.write(`${JSON.stringify({ ...result, seconds: Number(seconds.toFixed(1)) })}\n`);
      return seconds;
    },
  };
}

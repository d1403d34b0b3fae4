// Runs other programs, always with a way to see what failed. Never through a shell,
// but for npm on Windows, which is a .cmd file; its arguments come from the pins.

import { spawn } from "node:child_process";

/** A program that could not be started or did not end well. */
export class CommandError extends Error {
  constructor(command, detail, output) {
    super(`\`${command}\` ${detail}${output ? `:\n${indent(tail(output))}` : ""}`);
    this.name = "CommandError";
    this.output = output;
  }
}

/**
 * Runs a program and returns what it wrote.
 * @param {string} program
 * @param {string[]} args
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv, timeoutMs?: number}} [options]
 * @returns {Promise<string>} standard output
 */
export async function capture(program, args, options = {}) {
  const { code, stdout, stderr, failure } = await start(program, args, options, ["ignore", "pipe", "pipe"]);
  const command = [program, ...args].join(" ");
  if (failure) throw new CommandError(command, failure, stderr);
  if (code !== 0) throw new CommandError(command, `ended with code ${code}`, stderr || stdout);
  return stdout;
}

/** Like `capture`, but answers `null` when the program is missing or fails. */
export async function tryCapture(program, args, options = {}) {
  try {
    return await capture(program, args, options);
  } catch (error) {
    if (error instanceof CommandError) return null;
    throw error;
  }
}

/**
 * Runs a program whose output the user sees.
 * @param {string} program
 * @param {string[]} args
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv, stdout?: "inherit" | "stderr"}} [options]
 *   `stdout: "stderr"` sends its standard output to our standard error.
 * @returns {Promise<number>} its exit code; a program that is missing or was ended by a signal is told to the user
 */
export async function passThrough(program, args, options = {}) {
  const out = options.stdout === "stderr" ? 2 : "inherit";
  const { code, failure } = await start(program, args, options, ["inherit", out, "inherit"]);
  if (failure) process.stderr.write(`error: \`${[program, ...args].join(" ")}\` ${failure}\n`);
  return code;
}

function start(program, args, options, stdio) {
  return new Promise((resolve) => {
    const needsShell = process.platform === "win32" && program === "npm";
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio,
      windowsHide: true,
      shell: needsShell,
    });
    let stdout = "";
    let stderr = "";
    let timedOut = false;
    child.stdout?.setEncoding("utf8").on("data", (text) => (stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text) => (stderr += text));
    const timer =
      options.timeoutMs &&
      setTimeout(() => {
        timedOut = true;
        child.kill("SIGKILL");
      }, options.timeoutMs);
    // Ctrl-C reaches the child through the terminal; a signal sent to us alone is handed on.
    const forward = (signal) => child.kill(signal);
    process.on("SIGTERM", forward);
    const done = (result) => {
      clearTimeout(timer);
      process.off("SIGTERM", forward);
      resolve({ stdout, stderr, ...result });
    };
    child.on("error", (error) => {
      done({ code: 127, failure: error.code === "ENOENT" ? "was not found" : `could not be started: ${error.message}` });
    });
    child.on("close", (code, signal) => {
      if (timedOut) done({ code: 124, failure: `gave no answer within ${options.timeoutMs / 1000} s` });
      else if (signal) done({ code: 128, failure: `was ended by ${signal}` });
      else done({ code });
    });
  });
}

function tail(text) {
  return text.trimEnd().split("\n").slice(-15).join("\n");
}

function indent(text) {
  return text.replace(/^/gm, "    ");
}

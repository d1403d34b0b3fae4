// `npm run demo -- ARGS`: set-up, build, then `loqa demo ARGS`. Only `loqa demo`
// writes to standard output, so that with `--json` its last line is the object.

import { join, resolve } from "node:path";
import { prepare, BUILD_PROGRAMS } from "./setup/prepare.mjs";
import { ROOT, targetFolder } from "./setup/paths.mjs";
import { passThrough } from "./setup/run.mjs";

/** npm runs scripts in the repository; files are named as seen from where the user stands. */
function fromCaller(args, folder) {
  return args.map((arg, index) => {
    if (/^--(wav|out)$/.test(args[index - 1] ?? "")) return resolve(folder, arg);
    const match = /^(--(?:wav|out)=)(.+)$/.exec(arg);
    return match ? match[1] + resolve(folder, match[2]) : arg;
  });
}

async function main(args) {
  const env = await prepare();
  if (!env) return 1;
  const built = await passThrough("cargo", BUILD_PROGRAMS, { cwd: ROOT, env, stdout: "stderr" });
  if (built !== 0) return built;
  const program = join(targetFolder(env), "debug", process.platform === "win32" ? "loqa.exe" : "loqa");
  return passThrough(program, ["demo", ...fromCaller(args, process.env.INIT_CWD ?? process.cwd())], { cwd: ROOT, env });
}

process.exitCode = await main(process.argv.slice(2));

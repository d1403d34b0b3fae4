// `npm run build`: set-up, then all programs of Loqa. Further arguments go to cargo.

import { prepare, BUILD_PROGRAMS } from "./setup/prepare.mjs";
import { ROOT } from "./setup/paths.mjs";
import { passThrough } from "./setup/run.mjs";

const env = await prepare();
process.exitCode = env ? await passThrough("cargo", [...BUILD_PROGRAMS, ...process.argv.slice(2)], { cwd: ROOT, env }) : 1;

// Runs the Python of the tests: `node tools/python.mjs SCRIPT ARGS`. Without arguments
// it says where the interpreter lies.

import { ROOT } from "./setup/paths.mjs";
import { providePython } from "./setup/python.mjs";
import { passThrough } from "./setup/run.mjs";

const args = process.argv.slice(2);
const interpreter = await providePython(process.env);
if (interpreter === null) process.exitCode = 1;
else if (args.length === 0) process.stdout.write(`${interpreter}\n`);
else process.exitCode = await passThrough(interpreter, args, { cwd: ROOT });

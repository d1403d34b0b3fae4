// Writes the types of the API client from docs/openapi.json: one interface for each shape,
// one entry for each operation. There is no code in what it writes, so nothing of it can
// be wrong at run time but the description itself. `--check` only compares.

import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const FROM = join(HERE, "..", "..", "docs", "openapi.json");
const TO = join(HERE, "..", "src", "backend", "generated.ts");
const METHODS = ["get", "put", "post", "delete", "patch"];

/** Names of the shapes; a reference to anything else is `unknown`. */
let known = new Set();

/** The whole file as text. */
export function generate(document) {
  known = new Set(Object.keys(document.components.schemas));
  const shapes = Object.entries(document.components.schemas).sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = ["// Generated from docs/openapi.json by `npm run ui:client`; never edited by hand.", ""];
  for (const [name, schema] of shapes) parts.push(...comment(schema.description, ""), declaration(name, schema), "");
  parts.push("/** Every operation, by method and path. */", "export interface Operations {");
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS.filter((method) => item[method])) parts.push(...operation(method, path, item[method]));
  }
  parts.push("}", "");
  return parts.join("\n");
}

function declaration(name, schema) {
  const text = type(schema, "");
  const isPlain = schema.type === "object" && schema.properties && !schema.allOf && !schema.oneOf;
  return isPlain ? `export interface ${safe(name)} ${text}` : `export type ${safe(name)} = ${text};`;
}

function operation(method, path, described) {
  const parameters = described.parameters ?? [];
  const group = (place) => {
    const fields = parameters.filter((parameter) => parameter.in === place);
    if (fields.length === 0) return "{}";
    return `{ ${fields.map((p) => `${key(p.name)}${p.required ? "" : "?"}: ${type(p.schema, "    ")}`).join("; ")} }`;
  };
  const [mediaType, content] = Object.entries(described.requestBody?.content ?? {})[0] ?? [];
  const body = !mediaType ? "undefined" : mediaType === "application/json" ? type(content.schema, "    ") : "Blob";
  const good = Object.entries(described.responses).filter(([status]) => /^2/.test(status));
  const answers = good.map(([, response]) => answer(response));
  return [
    ...comment(described.summary, "  "),
    `  "${method.toUpperCase()} ${path}": {`,
    `    path: ${group("path")};`,
    `    query: ${group("query")};`,
    `    body: ${body};`,
    `    answer: ${[...new Set(answers)].join(" | ") || "undefined"};`,
    "  };",
  ];
}

function answer(response) {
  const [mediaType, content] = Object.entries(response.content ?? {})[0] ?? [];
  if (!mediaType) return "undefined";
  return mediaType === "application/json" ? type(content.schema, "    ") : "Blob";
}

/** The TypeScript of a JSON schema; what it does not know is `unknown`, never `any`. */
function type(schema, indent) {
  if (schema === undefined || schema === true) return "unknown";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return known.has(name) ? safe(name) : "unknown";
  }
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  for (const [word, sign] of [
    ["oneOf", " | "],
    ["anyOf", " | "],
    ["allOf", " & "],
  ]) {
    if (schema[word]) return [...new Set(schema[word].map((one) => bracket(type(one, indent), sign)))].join(sign);
  }
  if (Array.isArray(schema.type)) return schema.type.map((one) => type({ ...schema, type: one }, indent)).join(" | ");
  switch (schema.type) {
    case "string":
      return "string";
    case "integer":
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    case "null":
      return "null";
    case "array":
      return `Array<${type(schema.items, indent)}>`;
    case "object":
      return objectType(schema, indent);
    default:
      return "unknown";
  }
}

function objectType(schema, indent) {
  const entries = Object.entries(schema.properties ?? {});
  if (entries.length === 0) {
    return schema.additionalProperties === false ? "Record<string, never>" : "Record<string, unknown>";
  }
  const inner = `${indent}  `;
  const lines = entries.flatMap(([name, field]) => {
    const optional = schema.required?.includes(name) ? "" : "?";
    return [...comment(field.description, inner), `${inner}${key(name)}${optional}: ${type(field, inner)};`];
  });
  return ["{", ...lines, `${indent}}`].join("\n");
}

function bracket(text, sign) {
  return sign === " & " && text.includes(" | ") ? `(${text})` : text;
}

function comment(text, indent) {
  if (!text) return [];
  const plain = text.replaceAll("*/", "* /").replace(/\s+/g, " ").trim();
  return [`${indent}/** ${plain} */`];
}

function key(name) {
  return /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
}

function safe(name) {
  return name.replace(/\W/g, "_");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = generate(JSON.parse(await readFile(FROM, "utf8")));
  if (process.argv.includes("--check")) {
    const there = await readFile(TO, "utf8");
    if (there !== text) {
      process.stderr.write(
        "error: ui/src/backend/generated.ts is not what docs/openapi.json says; run `npm run ui:client`\n",
      );
      process.exitCode = 1;
    }
  } else {
    await writeFile(TO, text);
  }
}

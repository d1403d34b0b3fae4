// Lists the operations of /openapi.json and sends what is typed. Everything that comes
// back is shown as text, never as HTML.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const token = document.getElementById("token");

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function field(form, name, text, many = false) {
  const label = element("label", text);
  const input = element(many ? "textarea" : "input", undefined, { name, autocomplete: "off", spellcheck: "false" });
  label.append(input);
  form.append(label);
  return input;
}

function example(document_, schema, depth = 0) {
  if (schema === undefined || depth > 4) return null;
  if (schema.$ref) return example(document_, document_.components.schemas[schema.$ref.split("/").pop()], depth + 1);
  if (schema.default !== undefined) return schema.default;
  if (schema.oneOf) return example(document_, schema.oneOf[schema.oneOf.length - 1], depth + 1);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === "object") {
    const entries = Object.entries(schema.properties ?? {});
    return Object.fromEntries(entries.map(([key, value]) => [key, example(document_, value, depth + 1)]));
  }
  if (schema.enum) return schema.enum[0];
  return { string: "", integer: 0, number: 0, boolean: false, array: [] }[type] ?? null;
}

function operation(document_, path, method, described) {
  const box = element("details");
  const summary = element("summary");
  summary.append(element("b", method.toUpperCase()), element("code", path), described.summary ?? "");
  const form = element("form");
  if (described.description) form.append(element("p", described.description));
  const parameters = (described.parameters ?? []).map((parameter) => {
    const note = parameter.required ? " (needed)" : "";
    return [parameter, field(form, parameter.name, `${parameter.name}${note}: ${parameter.description ?? ""}`)];
  });
  const [mediaType, content] = Object.entries(described.requestBody?.content ?? {})[0] ?? [];
  let body = null;
  if (mediaType === "application/json") {
    body = field(form, "body", "body", true);
    body.value = JSON.stringify(example(document_, content.schema), null, 2);
  } else if (mediaType) {
    body = field(form, "body", `file (${mediaType})`);
    body.setAttribute("type", "file");
  }
  const answer = element("pre", "", { hidden: "" });
  form.append(element("button", "Send"), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let target = path;
    const query = new URLSearchParams();
    for (const [parameter, input] of parameters) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (parameter.in === "query" && input.value !== "") query.set(parameter.name, input.value);
    }
    if (query.size > 0) target += `?${query}`;
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const headers = token.value ? { Authorization: `Bearer ${token.value}` } : {};
      if (mediaType) headers["Content-Type"] = mediaType;
      const sent = body?.files ? body.files[0] : body?.value;
      const response = await fetch(target, { method: method.toUpperCase(), headers, body: sent });
      const text = await response.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it is */ }
      answer.textContent = `${response.status}\n${shown}`;
    } catch (error) {
      answer.textContent = String(error);
    }
  });
  box.append(summary, form);
  return box;
}

async function start() {
  const health = document.getElementById("health");
  document.getElementById("access").addEventListener("submit", (event) => event.preventDefault());
  try {
    health.textContent = (await (await fetch("/health")).json()).up ? "up" : "down";
    const document_ = await (await fetch("/openapi.json")).json();
    const groups = new Map();
    for (const [path, item] of Object.entries(document_.paths)) {
      for (const method of METHODS.filter((method) => item[method])) {
        const tag = item[method].tags?.[0] ?? "other";
        if (!groups.has(tag)) groups.set(tag, []);
        groups.get(tag).push(operation(document_, path, method, item[method]));
      }
    }
    const operations = document.getElementById("operations");
    for (const [tag, boxes] of groups) operations.append(element("h2", tag), ...boxes);
  } catch (error) {
    health.textContent = String(error);
  }
}

start();

// Plain JSON values as YAML, for a person to paste. Pure.

const PLAIN = /^[A-Za-z_/][A-Za-z0-9_./ -]*$/;
const WORDS = /^(true|false|yes|no|on|off|null|y|n)$/i;

/** Return a mapping as a block; null members become a comment that they are removed. */
export function yaml(value, indent = "") {
  return Object.entries(value).map(([name, item]) => member(name, item, indent)).join("");
}

function member(name, item, indent) {
  const key = indent + scalar(name);
  if (item === null) return `${indent}# remove: ${scalar(name)}\n`;
  if (Array.isArray(item)) {
    return item.length ? `${key}:\n${item.map((one) => entry(one, `${indent}  `)).join("")}` : `${key}: []\n`;
  }
  if (typeof item === "object") {
    return Object.keys(item).length ? `${key}:\n${yaml(item, `${indent}  `)}` : `${key}: {}\n`;
  }
  if (typeof item === "string" && isBlock(item)) return `${key}: ${block(item, `${indent}  `)}`;
  return `${key}: ${scalar(item)}\n`;
}

function entry(item, indent) {
  if (item === null || typeof item !== "object") return `${indent}- ${scalar(item)}\n`;
  if (Array.isArray(item)) return `${indent}- ${JSON.stringify(item)}\n`;
  const lines = yaml(item, `${indent}  `);
  return lines ? `${indent}- ${lines.slice(indent.length + 2)}` : `${indent}- {}\n`;
}

const isBlock = (text) => text.includes("\n") && !/^[\s]|[^\n\P{Cc}]|[ \t]\n/u.test(text);

function block(text, indent) {
  const ends = text.endsWith("\n");
  const lines = (ends ? text.replace(/\n$/, "") : text).split("\n");
  if (lines.at(-1) === "") return `${JSON.stringify(text)}\n`;
  return `|${ends ? "" : "-"}\n${lines.map((line) => (line ? indent + line : "")).join("\n")}\n`;
}

function scalar(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  return PLAIN.test(value) && !WORDS.test(value) && !value.endsWith(" ") ? value : JSON.stringify(value);
}

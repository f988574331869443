// A record and its receipt, verified by the browser itself: leaf hash, path to the root (RFC 6962), and the log's
// Ed25519 signature under it (C2SP tlog-checkpoint). A second reading of docs/verify/.
// Nothing is sent anywhere.
const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const unbase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const utf8 = (text) => new TextEncoder().encode(text);

async function hash(prefix, ...parts) {
  const whole = new Uint8Array(1 + parts.reduce((sum, part) => sum + part.length, 0));
  whole[0] = prefix;
  let at = 1;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
}

// sorted keys, no spaces: the one form that is hashed
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

export function leafOf(file) {
  const { salt, ...said } = JSON.parse(file);
  return hash(0, unhex(salt), utf8(canonical(said)));
}

export function parsed(receipt) {
  const [head, body, signatures] = receipt.split("\n\n");
  const lines = head.split("\n");
  const [origin, size, root] = body.split("\n");
  return {
    index: BigInt(lines[2].replace("index ", "")),
    path: lines.slice(3).map(unbase64),
    origin,
    size: BigInt(size),
    root: unbase64(root),
    signed: utf8(`${body}\n`),
    signatures: signatures.split("\n").filter(Boolean).map((line) => line.split(" ").slice(1)),
  };
}

// RFC 9162, 2.1.3.2
export async function rootOf({ index, size, path }, leaf) {
  if (index >= size) return new Uint8Array();
  let [node, last, root] = [index, size - 1n, leaf];
  for (const sibling of path) {
    if (last === 0n) return new Uint8Array();
    if (node & 1n || node === last) {
      root = await hash(1, sibling, root);
      while (!(node & 1n) && node !== 0n) [node, last] = [node >> 1n, last >> 1n];
    } else root = await hash(1, root, sibling);
    [node, last] = [node >> 1n, last >> 1n];
  }
  return last === 0n ? root : new Uint8Array();
}

// whether the first key of the trust file signed; null where this browser cannot tell
export async function isSigned(receipt, vkey) {
  const raw = unbase64(vkey.split("+").slice(2).join("+")).slice(1);
  let key;
  try {
    key = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
  } catch {
    return null;
  }
  for (const [name, text] of receipt.signatures) {
    const signature = unbase64(text);
    if (name !== receipt.origin || hex(signature.slice(0, 4)) !== vkey.split("+")[1]) continue;
    return crypto.subtle.verify("Ed25519", key, signature.slice(4), receipt.signed);
  }
  return false;
}

async function fetched(url) {
  const answer = await fetch(url, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.text();
}

function say(list, right, text, values = {}) {
  const item = document.createElement("li");
  const badge = document.createElement("span");
  badge.className = `badge ${right === null ? "warn" : right ? "ok" : "bad"}`;
  badge.textContent = right === null ? list.dataset.unknown : right ? list.dataset.ok : list.dataset.bad;
  const words = document.createElement("span");
  words.className = "wrap";
  words.textContent = ` ${text.replace(/\{(\w+)\}/g, (_, name) => values[name])}`;
  item.append(badge, words);
  list.append(item);
}

async function verify(list) {
  const said = list.dataset;
  list.replaceChildren();
  try {
    const [record, text, trust] = await Promise.all([said.record, said.receipt, said.trust].map(fetched));
    const receipt = parsed(text);
    const leaf = await leafOf(record);
    say(list, true, said.leaf, { hash: hex(leaf) });
    const [root, named] = [hex(await rootOf(receipt, leaf)), hex(receipt.root)];
    say(list, root === named, root === named ? said.path : said.other, { hash: root, other: named });
    const vkey = /^key = "(.*)"$/m.exec(trust)[1];
    const signed = await isSigned(receipt, vkey);
    say(list, signed, signed === null ? said.cannot : signed ? said.signed : said.forged, { key: vkey });
  } catch {
    say(list, false, said.failed);
  }
}

for (const button of document.querySelectorAll("[data-verify-now]")) {
  button.addEventListener("click", () => verify(document.getElementById(button.dataset.verifyNow)));
}

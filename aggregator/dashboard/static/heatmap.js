// Maps of cells on a canvas. Two forms of answers of data-src:
//   {"states": {STATE: {"kind", "label"}}, "now", "nodes": {STATE: {"ids", "names", "ago_s"}}}   one cell for each node
//   {"unit", "language", "zone", "times": [...], "rows": [{"name", "href", "values": [number or null]}]}     rows by time
// Arrow keys walk, Enter opens; the table below says the same in words.
const style = (token) => {
  probe.style.color = `var(--${token})`;
  return getComputedStyle(probe).color;
};
const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

const GAP = 2;
const MOST_IN_TABLE = 500;
const KINDS = { ok: "ok", warn: "warn", bad: "bad", info: "info", wait: "info", idle: "line-strong" };

function gridOf(data, width) {
  if (data.rows) {
    const columns = Math.max(1, data.times.length);
    return { columns, count: data.rows.length * columns, size: Math.max(3, Math.floor(width / columns)), tall: 16 };
  }
  const count = data.cells.length;
  const size = count > 2500 ? 9 : count > 400 ? 13 : 20;
  return { columns: Math.max(1, Math.floor(width / size)), count, size, tall: size };
}

function cellOf(data, grid, index) {
  if (!data.rows) return data.cells[index];
  const row = data.rows[Math.floor(index / grid.columns)];
  const value = row.values[index % grid.columns];
  const when = new Intl.DateTimeFormat(data.language, { timeZone: data.zone, hourCycle: "h23", dateStyle: "medium", timeStyle: "short" });
  const text = value == null ? "–" : `${new Intl.NumberFormat(data.language, { maximumFractionDigits: 1 }).format(value)} ${data.unit}`;
  return { name: row.name, href: row.href, value, text: `${when.format(data.times[index % grid.columns] * 1000)}: ${text}` };
}

function shade(data, cell, scale) {
  if (!data.rows) return style(KINDS[data.states[cell.state].kind]);
  if (cell.value == null) return style("idle-soft");
  const share = (cell.value - scale.low) / (scale.high - scale.low || 1);
  return `color-mix(in oklab, ${scale.hot} ${Math.round(8 + 92 * share)}%, ${scale.cold})`;
}

const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });
function when(data, cell) {
  if (cell.at == null) return cell.text ?? "";
  const seconds = cell.at - data.now;
  const [size, unit] = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]].find(([least]) => Math.abs(seconds) >= least * 1.5) ?? [1, "second"];
  return relative.format(Math.round(seconds / size), unit);
}
const words = (data, cell) => [cell.name, data.states ? data.states[cell.state].label : "", when(data, cell)].filter(Boolean).join(", ");

function paint(map) {
  const { canvas, data } = map;
  const width = canvas.parentElement.clientWidth;
  const grid = (map.grid = gridOf(data, width));
  const height = Math.ceil(grid.count / grid.columns) * grid.tall;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  canvas.style.height = `${height}px`;
  const ctx = canvas.getContext("2d");
  ctx.scale(devicePixelRatio, devicePixelRatio);
  const scale = data.rows && scaleOf(data);
  const colours = new Map();
  for (let index = 0; index < grid.count; index++) {
    const cell = data.rows ? { value: data.rows[Math.floor(index / grid.columns)].values[index % grid.columns] } : data.cells[index];
    const key = data.rows ? cell.value : cell.state;
    if (!colours.has(key)) colours.set(key, shade(data, cell, scale));
    ctx.fillStyle = colours.get(key);
    const [x, y] = [(index % grid.columns) * grid.size, Math.floor(index / grid.columns) * grid.tall];
    ctx.fillRect(x, y, grid.size - (data.rows ? 0 : GAP), grid.tall - GAP);
    // the worst also have a mark of their own, for those who do not tell the colours apart
    if (!data.rows && grid.size >= 13 && data.states[cell.state].kind === "bad") {
      ctx.fillStyle = style("panel");
      ctx.fillRect(x + (grid.size - GAP) / 2 - 1.5, y + 4, 3, grid.size - GAP - 8);
    }
    if (index === map.at) {
      ctx.strokeStyle = style("text");
      ctx.lineWidth = 2;
      ctx.strokeRect(x + 1, y + 1, grid.size - GAP - 2, grid.tall - GAP - 2);
    }
  }
}

function scaleOf(data) {
  const values = data.rows.flatMap((row) => row.values).filter((value) => value != null);
  return { low: values.reduce((a, b) => Math.min(a, b), Infinity), high: values.reduce((a, b) => Math.max(a, b), -Infinity), hot: style("series-1"), cold: style("panel-2") };
}

function tell(map, index) {
  map.at = index;
  paint(map);
  if (index < 0 || index >= map.grid.count) return void (map.tip.hidden = true);
  const cell = cellOf(map.data, map.grid, index);
  map.tip.textContent = words(map.data, cell);
  map.tip.hidden = false;
  const x = (index % map.grid.columns) * map.grid.size;
  map.tip.style.top = `${Math.floor(index / map.grid.columns) * map.grid.tall + map.grid.tall + 2}px`;
  const room = map.canvas.clientWidth - map.tip.offsetWidth;
  map.tip.style.left = `${Math.max(0, Math.min(x, room))}px`;
}

function open(map, index) {
  const href = index >= 0 && index < map.grid.count && cellOf(map.data, map.grid, index).href;
  if (href) location.assign(href);
}

function walk(map, event) {
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -map.grid.columns, ArrowDown: map.grid.columns };
  if (event.key in steps) {
    const next = Math.max(0, map.at) + (map.at < 0 ? 0 : steps[event.key]);
    if (next >= 0 && next < map.grid.count) tell(map, next);
  } else if (event.key === "Enter") open(map, map.at);
  else if (event.key === "Escape") tell(map, -1);
  else return;
  event.preventDefault();
}

function build(figure) {
  const cells = document.createElement("div");
  cells.className = "cells";
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", figure.dataset.label);
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  cells.append(canvas, tip);
  const legend = document.createElement("div");
  legend.className = "legend";
  const details = document.createElement("details");
  details.className = "numbers";
  const summary = document.createElement("summary");
  summary.textContent = figure.dataset.asTable;
  const place = document.createElement("div");
  place.className = "table";
  place.tabIndex = 0;
  place.setAttribute("role", "region");
  place.setAttribute("aria-label", figure.dataset.label);
  details.append(summary, place);
  figure.append(cells, legend, details);
  const map = { figure, canvas, tip, legend, details, place, at: -1, data: null };
  canvas.addEventListener("keydown", (event) => walk(map, event));
  canvas.addEventListener("blur", () => tell(map, -1));
  const under = (event) => Math.floor(event.offsetY / map.grid.tall) * map.grid.columns + Math.min(map.grid.columns - 1, Math.floor(event.offsetX / map.grid.size));
  canvas.addEventListener("mousemove", (event) => under(event) !== map.at && tell(map, under(event)));
  canvas.addEventListener("mouseleave", () => tell(map, -1));
  canvas.addEventListener("click", (event) => open(map, under(event)));
  details.addEventListener("toggle", () => list(map));
  new ResizeObserver(() => paint(map)).observe(cells);
  document.documentElement.addEventListener("theme", () => show(map));
  return map;
}

function legendOf(map) {
  map.legend.replaceChildren();
  if (!map.data.states) return;
  for (const [state, { kind, label }] of Object.entries(map.data.states)) {
    const count = map.data.cells.filter((cell) => cell.state === state).length;
    if (!count) continue;
    const entry = document.createElement("span");
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = style(KINDS[kind]);
    entry.append(swatch, `${label}: ${count}`);
    map.legend.append(entry);
  }
}

function list(map) {
  if (!map.details.open) return;
  const table = document.createElement("table");
  const rows = map.data.rows ?? map.data.cells;
  for (const row of rows.slice(0, MOST_IN_TABLE)) {
    const line = table.insertRow();
    const name = document.createElement(row.href ? "a" : "span");
    if (row.href) name.href = row.href;
    name.textContent = row.name;
    line.insertCell().append(name);
    if (map.data.rows) for (const value of row.values) line.insertCell().textContent = value ?? "–";
    else {
      line.insertCell().textContent = map.data.states[row.state].label;
      line.insertCell().textContent = when(map.data, row);
    }
  }
  map.place.replaceChildren(table);
}

function show(map) {
  if (!map.data) return;
  paint(map);
  legendOf(map);
  list(map);
}

// the columns of an answer as cells; a name of 0 is that of the id
function cellsOf(data) {
  if (!data.nodes) return data;
  data.cells = Object.entries(data.nodes).flatMap(([state, { ids, names, ago_s }]) =>
    ids.map((id, i) => ({ name: names[i] || id, state, href: `/nodes/${encodeURIComponent(id)}`, at: ago_s[i] === null ? null : data.now - ago_s[i] })),
  );
  return data;
}

async function ask(figure, state) {
  if (state.busy) return void (state.again = true);
  state.busy = true;
  const hint = figure.querySelector(".placeholder");
  try {
    const answer = await fetch(figure.dataset.src, { headers: { Accept: "application/json", "HX-Request": "true" } });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const data = cellsOf(await answer.json());
    const empty = (data.rows ?? data.cells).length === 0;
    figure.classList.toggle("drawn", !empty);
    if (empty) hint.textContent = figure.dataset.empty;
    else {
      state.map ??= build(figure);
      state.map.data = data;
      show(state.map);
    }
  } catch {
    if (!state.map) hint.textContent = figure.dataset.failed;
  }
  state.busy = false;
  if (state.again) {
    state.again = false;
    setTimeout(() => ask(figure, state), 2000);
  }
}

function begin(figure) {
  if (figure.dataset.begun) return;
  figure.dataset.begun = "yes";
  const state = { map: null, busy: false, again: false };
  ask(figure, state);
  const again = () => figure.isConnected && ask(figure, state);
  if (figure.dataset.topic) document.body.addEventListener(`live:${figure.dataset.topic}`, again);
  figure.addEventListener("refresh", again);
}

const beginAll = (root) => root.querySelectorAll("[data-heatmap]").forEach(begin);
beginAll(document);
document.body.addEventListener("htmx:afterSettle", (event) => beginAll(event.detail.elt));

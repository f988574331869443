// Line charts: a figure with data-chart draws what its data-src answers (aggregator/dashboard/chart.py says in
// which form) and asks again at the live topic of data-topic. A table with the same numbers is below.
const colour = (() => {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  return (token) => {
    probe.style.color = `var(--${token})`;
    return getComputedStyle(probe).color;
  };
})();

// times are shown in the user's zone, also on days of 23 or 25 hours
export function clockOf(data) {
  const parts = new Intl.DateTimeFormat("en-GB", { timeZone: data.zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" });
  const full = new Intl.DateTimeFormat(data.language, { timeZone: data.zone, hourCycle: "h23", dateStyle: "medium", timeStyle: "short" });
  const day = new Intl.DateTimeFormat(data.language, { timeZone: data.zone, day: "numeric", month: "short" });
  const split = (seconds) => Object.fromEntries(parts.formatToParts(seconds * 1000).map((part) => [part.type, part.value]));
  return {
    split,
    full: (seconds) => full.format(seconds * 1000),
    axis: (seconds) => {
      const { hour, minute } = split(seconds);
      return hour === "00" && minute === "00" ? day.format(seconds * 1000) : `${hour}:${minute}`;
    },
  };
}

// marks at whole local hours: every 1, 2, 3, 6, 12 or 24 of them, as many as fit. The hour that comes twice has one
// mark, unless every hour has one; days of 23 and of 25 hours have theirs at midnight as all others
export function splits(clock, min, max, width) {
  const fit = Math.max(2, Math.floor(width / 64));
  const every = [900, 1800, 3600, 7200, 10800, 21600, 43200].find((step) => (max - min) / step <= fit);
  if (!every) return midnights(clock, min, max, Math.ceil((max - min) / 86400 / fit));
  const found = [];
  for (let at = Math.ceil(min / 900) * 900; at <= max; at += 900) {
    const { hour, minute } = clock.split(at);
    const again = every > 3600 && at - 3600 === found.at(-1) && clock.split(found.at(-1)).hour === hour;
    if ((Number(hour) * 3600 + Number(minute) * 60) % every === 0 && !again) found.push(at);
  }
  return found;
}
function midnights(clock, min, max, days) {
  const found = [];
  for (let at = Math.ceil(min / 900) * 900; at <= max; at += 900) {
    const { year, month, day, hour, minute } = clock.split(at);
    if (hour !== "00" || minute !== "00") continue;
    if ((Date.UTC(year, month - 1, day) / 86400000) % days === 0) found.push(at);
    at += 22 * 3600; // no day is shorter than 23 hours
  }
  return found;
}

// a sum that is not of all says of how many it is, as in 12.5 kW (180/200)
const share = (one, index) => (index != null && one.counts?.length && one.counts[index] < one.among ? ` (${one.counts[index]}/${one.among})` : "");

function seriesOf(data, number) {
  const stepped = uPlot.paths.stepped({ align: 1 });
  const lines = data.series.map((one, position) => ({
    label: one.name,
    stroke: () => colour(`series-${one.colour}`),
    width: one.dashed ? 1.6 : 2,
    dash: one.dashed ? [6, 4] : undefined,
    paths: one.style === "step" ? stepped : one.style === "points" ? () => null : undefined,
    points: { show: one.style === "points", size: 5 },
    value: (_, __, ___, index) => {
      const value = data.series[position].values[index]; // what was measured, not what is drawn to its end
      return value == null ? "–" : `${number.format(value)} ${data.unit}${share(data.series[position], index)}`;
    },
  }));
  const edges = data.bands.flatMap((band, position) =>
    ["upper", "lower"].map((edge) => ({
      label: `${band.name} ${edge === "upper" ? "↑" : "↓"}`,
      stroke: () => colour("band"),
      width: 1,
      paths: stepped,
      points: { show: false },
      value: (_, __, ___, index) => {
        const value = data.bands[position][edge][index];
        return value == null ? "–" : `${number.format(value)} ${data.unit}`;
      },
    })),
  );
  return [{ label: data.timeLabel, value: (_, seconds) => (seconds == null ? "–" : data.clock.full(seconds)) }, ...lines, ...edges];
}

// events as shaded periods, and a line at the present
function underlay(data) {
  return (plot) => {
    const { ctx, bbox } = plot;
    const x = (seconds) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, plot.valToPos(seconds, "x", true)));
    ctx.save();
    for (const shade of data.shades) {
      const left = x(shade.from);
      ctx.fillStyle = colour("event");
      ctx.fillRect(left, bbox.top, x(shade.to) - left, bbox.height);
    }
    if (data.now > data.from && data.now < data.to) {
      ctx.strokeStyle = colour("line-strong");
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(x(data.now), bbox.top);
      ctx.lineTo(x(data.now), bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  };
}

function axes(data, number) {
  const look = {
    stroke: () => colour("muted"),
    font: "12px system-ui, sans-serif",
    grid: { stroke: () => colour("line"), width: 1 },
    ticks: { stroke: () => colour("line"), width: 1, size: 5 },
  };
  return [
    { ...look, size: 34, splits: (plot, _, min, max) => splits(data.clock, min, max, plot.width), values: (_, marks) => marks.map(data.clock.axis) },
    { ...look, size: 64, values: (_, marks) => marks.map((mark) => number.format(mark)), label: data.unit, labelSize: 18, labelFont: "12px system-ui, sans-serif" },
  ];
}

function options(data, place) {
  const number = new Intl.NumberFormat(data.language, { maximumFractionDigits: 1 });
  const count = data.series.length;
  return {
    width: place.clientWidth,
    height: Math.max(place.clientHeight, 240),
    scales: { x: { time: false, range: () => [data.from, data.to] }, y: { range: (_, low, high) => (low == null ? [0, 1] : uPlot.rangeNum(Math.min(0, low), high || 1, { min: { pad: 0, soft: 0, mode: 1 }, max: { pad: 0.1 } })) } },
    series: seriesOf(data, number),
    bands: data.bands.map((_, index) => ({ series: [count + 1 + 2 * index, count + 2 + 2 * index], fill: () => colour("band") })),
    axes: axes(data, number),
    cursor: { drag: { x: false, y: false }, points: { size: 7 } },
    hooks: { drawClear: [underlay(data)] },
  };
}

// a step holds to the end of its interval, the last one too
const held = (values) => [...values, null].map((value, at, all) => value ?? (at > 0 ? all[at - 1] : null));

function columns(data) {
  const count = data.times.length;
  const end = count > 1 ? 2 * data.times[count - 1] - data.times[count - 2] : data.times[count - 1];
  const lines = data.series.map((one) => (one.style === "step" ? held(one.values) : [...one.values, null]));
  return [[...data.times, end], ...lines, ...data.bands.flatMap((band) => [held(band.upper), held(band.lower)])];
}

// the same numbers for those who do not see the picture; made when it is opened
function table(figure, data) {
  const number = new Intl.NumberFormat(data.language, { maximumFractionDigits: 2 });
  const body = document.createElement("table");
  const head = body.createTHead().insertRow();
  for (const text of [figure.dataset.time, ...data.series.map((one) => `${one.name} (${data.unit})`)]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    head.append(cell);
  }
  data.times.forEach((seconds, index) => {
    const row = body.insertRow();
    row.insertCell().textContent = data.clock.full(seconds);
    for (const one of data.series) {
      const cell = row.insertCell();
      cell.className = "num";
      cell.textContent = one.values[index] == null ? figure.dataset.unknown : number.format(one.values[index]) + share(one, index);
    }
  });
  return body;
}

function numbers(figure, state) {
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
  details.addEventListener("toggle", () => details.open && place.replaceChildren(table(figure, state.data)));
  figure.append(details);
  return () => details.open && place.replaceChildren(table(figure, state.data));
}

const form = (data) => JSON.stringify([data.series.map((one) => [one.name, one.style, one.dashed, one.colour]), data.bands.map((band) => band.name), data.unit, data.zone]);

function draw(figure, state, data) {
  const place = figure.querySelector(".plot");
  const known = data.times.length > 0 && data.series.some((one) => one.values.some((value) => value != null));
  figure.classList.add("drawn");
  figure.classList.toggle("empty-chart", !known);
  data.clock = clockOf(data);
  data.timeLabel = figure.dataset.time;
  if (!known) return message(figure, figure.dataset.empty);
  if (state.plot && form(state.data) === form(data)) {
    Object.assign(state.data, data); // axes and shades read this object
    state.plot.setData(columns(data));
  } else {
    state.plot?.destroy();
    state.data = data;
    state.plot = new uPlot(options(data, place), columns(data), place);
  }
  state.refresh ??= numbers(figure, state);
  state.refresh();
}

function message(figure, text) {
  figure.classList.remove("drawn");
  figure.querySelector(".placeholder").textContent = text;
  figure.querySelector(".placeholder").removeAttribute("aria-hidden");
}

async function fetchInto(figure, state) {
  if (state.busy) return void (state.again = true); // one question at a time; the last one counts
  state.busy = true;
  try {
    const answer = await fetch(figure.dataset.src, { headers: { Accept: "application/json", "HX-Request": "true" } });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const data = await answer.json();
    const later = Number(answer.headers.get("Retry-After"));
    figure.toggleAttribute("data-unfinished", later > 0);
    if (later && figure.isConnected) state.later ??= setTimeout(() => ((state.later = null), fetchInto(figure, state)), later * 1000);
    draw(figure, state, data);
    figure.dispatchEvent(new Event("live:drawn")); // numbers beside it that are made of the same curves
  } catch {
    if (!state.plot) message(figure, figure.dataset.failed);
  }
  state.busy = false;
  if (state.again) {
    state.again = false;
    setTimeout(() => fetchInto(figure, state), 2000);
  }
}

function begin(figure) {
  if (figure.dataset.begun) return;
  figure.dataset.begun = "yes";
  const state = { plot: null, data: null, busy: false, again: false, later: null };
  const ask = () => (figure.isConnected ? fetchInto(figure, state) : state.plot?.destroy());
  ask();
  if (figure.dataset.topic) document.body.addEventListener(`live:${figure.dataset.topic}`, ask);
  figure.addEventListener("refresh", ask); // for screens that change data-src
  document.documentElement.addEventListener("theme", () => {
    if (!state.plot) return;
    const { data } = state;
    state.plot.destroy(); // the legend takes its colours when it is made
    state.plot = new uPlot(options(data, figure.querySelector(".plot")), columns(data), figure.querySelector(".plot"));
  });
  new ResizeObserver(() => {
    const place = figure.querySelector(".plot");
    if (state.plot && place.clientWidth) state.plot.setSize({ width: place.clientWidth, height: state.plot.height });
  }).observe(figure);
}

const beginAll = (root) => root.querySelectorAll("[data-chart]").forEach(begin);
beginAll(document);
document.body.addEventListener("htmx:afterSettle", (event) => beginAll(event.detail.elt));

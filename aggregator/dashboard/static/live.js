// One WebSocket for this tab. The server says what has changed; every part of the page that shows it asks
// again by itself (hx-trigger="live:TOPIC from:body"). Without news for 5 s the page says how old it is.
const STALE_MS = 5000;
const banner = document.getElementById("stale");
const state = document.getElementById("link-state");
const clock = document.getElementById("now");
const zone = document.documentElement.dataset.zone;
const TOPICS = ["portfolio", "nodes", "events", "reports", "statements", "ledger", "alarms"];
const time = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });

let socket = null;
let serverNow = new Date(clock.dateTime); // the aggregator's own clock: it may run fast
let heardAt = performance.now();
let process = null; // which run of the server we spoke with
let tries = 0;
let signedOut = false; // and something is typed here that nobody is to lose
let full = false; // this user has too many pages open for another live one
let missed = false; // whether something may have happened that we were not told

// a topic is announced at once, then at most once in a pace; the last change is never lost. Parts that are
// costly to draw again listen to the slower ones: hx-trigger="live-slow:TOPIC from:body"
const PACES_MS = { live: 700, "live-slow": 2500, "live-rare": 10000 };
const announcedAt = {};
const waiting = {};
function announce(topics) {
  for (const topic of topics) for (const [pace, ms] of Object.entries(PACES_MS)) {
    const name = `${pace}:${topic}`;
    const early = (announcedAt[name] ?? -ms) + ms - performance.now();
    waiting[name] ??= setTimeout(() => {
      delete waiting[name];
      announcedAt[name] = performance.now();
      document.body.dispatchEvent(new CustomEvent(name));
    }, Math.max(0, early));
  }
}

function show(kind) {
  if (state.className === `link-state ${kind}`) return;
  state.className = `link-state ${kind}`;
  state.querySelector(".text").textContent = state.dataset[kind];
}

function say(text, kind) {
  if (signedOut) return;
  if (banner.hidden && !text) return;
  banner.hidden = !text;
  banner.className = `banner ${kind}`;
  put(banner.querySelector("span"), text);
}

function heard(message) {
  heardAt = performance.now();
  serverNow = new Date(message.now);
  tick();
  show("live");
  if (message.csrf) renew(message.csrf);
  const restarted = process !== null && process !== message.process;
  process = message.process;
  if (restarted || missed) announce(TOPICS);
  else announce(message.topics);
  if (restarted) {
    say(banner.dataset.restarted, "info");
    setTimeout(() => banner.classList.contains("info") && say("", "info"), 10000);
  } else if (!banner.classList.contains("info")) say("", "warn");
  missed = false;
}

// the clock and all that is said as so long ago: once a second at most, and only what reads otherwise now
let tickedAt = -1000;
function tick() {
  if (performance.now() - tickedAt < 1000) return;
  tickedAt = performance.now();
  clock.dateTime = serverNow.toISOString();
  put(clock, time.format(serverNow));
  for (const element of document.querySelectorAll("time[data-ago]")) put(element, ago(new Date(element.dateTime)));
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function ago(instant) {
  const seconds = (instant - serverNow) / 1000;
  for (const [size, unit] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
    if (Math.abs(seconds) >= size * 1.5) return relative.format(Math.round(seconds / size), unit);
  }
  return relative.format(Math.round(seconds), "second");
}

// the session has ended: to the sign-in, unless something was typed, which stays while one signs in elsewhere
let touched = false; // a form that the server drew again holds what was typed as its own value
document.addEventListener("input", (event) => (touched ||= !event.target.closest("form[role=search]")));
const typed = () =>
  touched ||
  [...document.querySelectorAll("form:not([role=search]) :is(input:not([type=hidden]), textarea, select)")].some((field) =>
    field.matches("select")
      ? [...field.options].some((option) => option.selected !== option.defaultSelected) && field.selectedIndex > 0
      : field.matches("[type=checkbox], [type=radio]")
        ? field.checked !== field.defaultChecked
        : field.value !== field.defaultValue,
  );
function ended() {
  if (!typed()) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    return;
  }
  show("lost");
  say(banner.dataset.ended, "warn");
  banner.querySelector("a").hidden = false;
  signedOut = true;
}
document.body.addEventListener("session-ended", ended); // what htmx makes of a 401: see document.html

// signed in again in another tab: the forms here are those of the new session
function renew(csrf) {
  document.querySelector('meta[name="csrf-token"]').content = csrf;
  for (const field of document.querySelectorAll('input[name="csrf"]')) field.value = csrf;
  if (!signedOut) return;
  signedOut = false;
  banner.querySelector("a").hidden = true;
  say("", "warn");
}

function connect() {
  let opened = false;
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live?drawn=${clock.dataset.drawn}`);
  socket.onopen = () => {
    opened = true;
  };
  socket.onmessage = (event) => {
    tries = 0; // not before: a line that is opened and closed at once is none
    full = false;
    heard(JSON.parse(event.data));
  };
  socket.onclose = async (event) => {
    socket = null;
    missed = true;
    full = event.code === 4429;
    // a refused connection does not say why: another request does
    const refused = !opened && !signedOut && (await fetch("/live", { headers: { "HX-Request": "true" } }).catch(() => null));
    if (event.code === 4401 || refused?.status === 401) {
      ended();
      if (!signedOut) return;
    }
    // 0.3 s at first, at most 8 s, spread so that not all tabs come back at once
    const wait = Math.min(8000, 300 * 2 ** tries++) * (0.5 + Math.random());
    setTimeout(connect, wait);
  };
}

setInterval(() => {
  if (performance.now() - heardAt < STALE_MS) return;
  missed = true;
  show("lost");
  say((full ? banner.dataset.full : banner.dataset.text).replace("{time}", time.format(serverNow)), "warn");
  if (socket?.readyState === WebSocket.OPEN) socket.close(); // a line that is up and silent is dead
}, 500);

addEventListener("online", () => socket === null && connect());
connect();

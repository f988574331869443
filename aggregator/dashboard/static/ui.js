// What every page does: theme, narrow navigation, dialogs, toasts, shortcuts, the CSRF token of htmx.
const root = document.documentElement;
const byId = (id) => document.getElementById(id);

byId("theme-toggle")?.addEventListener("click", switchTheme);
function switchTheme() {
  window.flexpactTheme(root.dataset.theme === "dark" ? "light" : "dark");
}

const navToggle = byId("nav-toggle");
navToggle?.addEventListener("click", () => {
  const open = navToggle.closest(".side").classList.toggle("open");
  navToggle.setAttribute("aria-expanded", String(open));
});

// dialogs: showModal keeps the focus inside and gives it back to the button
document.addEventListener("click", (click) => {
  const opener = click.target.closest("[data-dialog]");
  if (opener) byId(opener.dataset.dialog)?.showModal();
  const closer = click.target.closest("[data-close]");
  if (closer) closer.closest("dialog, .toast")?.[closer.closest("dialog") ? "close" : "remove"]();
  if (click.target.nodeName === "DIALOG") click.target.close(); // outside of its content
});
function openWhatCame(place) {
  for (const dialog of place.querySelectorAll("dialog[data-open-now]")) {
    dialog.removeAttribute("data-open-now");
    dialog.addEventListener("close", () => dialog.closest("#dialog-place") && dialog.remove());
    dialog.showModal();
  }
  place.querySelector("[data-focus]")?.focus();
}
openWhatCame(document);

// toasts: the server's header HX-Trigger {"toast": {"kind": "ok", "text": "..."}}, or an error of a request
const toasts = byId("toasts");
export function toast(kind, text) {
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.dataset.close = "";
  close.setAttribute("aria-label", toasts.dataset.dismiss);
  close.textContent = "×";
  box.append(words, close);
  toasts.append(box);
  if (kind !== "bad") setTimeout(() => box.remove(), 8000);
}
document.body.addEventListener("toast", (event) => toast(event.detail.kind, event.detail.text));

// what fetches itself again, at any of live.js's paces
const byItself = (trigger) => /^live(-slow|-rare)?:/.test(trigger?.type ?? "");
document.body.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRF-Token"] = document.querySelector('meta[name="csrf-token"]').content;
  // parts that keep themselves up to date do not keep a session alive; what a person does, does
  const trigger = event.detail.triggeringEvent;
  if (trigger && !byItself(trigger)) event.detail.headers["X-User-Active"] = "1";
});
document.body.addEventListener("htmx:afterSettle", (event) => openWhatCame(event.detail.elt));
// what fetches itself again says nothing: the stale banner does
const asked = (event) => !byItself(event.detail.requestConfig?.triggeringEvent);
document.body.addEventListener("htmx:responseError", (event) => {
  if (asked(event)) toast("bad", toasts.dataset.failed.replace("{status}", event.detail.xhr.status));
});
document.body.addEventListener("htmx:sendError", (event) => {
  if (asked(event)) toast("bad", toasts.dataset.unreachable);
});

// Leaving a field says "change" once more. What was asked for as it stands is not asked for again: the answer would
// replace the button or link under the very click that left the field.
const filledIn = (form) => new URLSearchParams(new FormData(form)).toString();
const lastAsked = new WeakMap(); // of a form, as it was filled in when it last asked
const answered = new WeakMap(); // the same of what is shown now
const asking = new WeakMap(); // of a request
const entry = byId("event-entry");
if (entry) for (const state of [lastAsked, answered]) state.set(entry, filledIn(entry));
document.body.addEventListener("htmx:confirm", (event) => {
  const { elt, triggeringEvent } = event.detail;
  if (elt.nodeName !== "FORM") return;
  const now = filledIn(elt);
  if (triggeringEvent?.type === "change" && lastAsked.get(elt) === now) event.preventDefault();
  else lastAsked.set(elt, now);
});
document.body.addEventListener("htmx:beforeRequest", ({ detail }) => {
  if (detail.elt.nodeName === "FORM") asking.set(detail.xhr, filledIn(detail.elt));
});
document.body.addEventListener("htmx:afterRequest", ({ detail }) => {
  const then = asking.get(detail.xhr);
  if (then === undefined) return;
  // htmx calls the 401 of an ended session a success, of which nothing is shown
  if (detail.successful && detail.xhr.status < 400) answered.set(detail.elt, then);
  else if (lastAsked.get(detail.elt) === then) lastAsked.delete(detail.elt);
});
// an event is sent as it was previewed: where something else has been typed since, its preview comes first
document.addEventListener("submit", (event) => {
  if (!event.target.closest("#event-preview") || answered.get(entry) === filledIn(entry)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  htmx.trigger(entry, "change");
});

// a form that was sent is not sent again by the second click of a double click
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.hasAttribute("hx-post")) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
  form.setAttribute("aria-busy", "true");
  (event.submitter ?? form.querySelector('[type="submit"]'))?.setAttribute("data-pressed", ""); // whose spinner turns
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    form.removeAttribute("aria-busy");
    form.querySelector("[data-pressed]")?.removeAttribute("data-pressed");
  }
});
// a part that says whether it is busy is so while a request for it runs; of two requests the last one counts
const busy = new Map();
document.body.addEventListener("htmx:beforeRequest", ({ detail }) => {
  if (!detail.target?.hasAttribute("aria-busy")) return;
  busy.set(detail.target, detail.xhr);
  detail.target.setAttribute("aria-busy", "true");
});
document.body.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (busy.get(detail.target) !== detail.xhr) return;
  busy.delete(detail.target);
  detail.target.setAttribute("aria-busy", "false");
});

// keyboard
let afterG = -Infinity;
const typing = (element) => element.closest?.("input, textarea, select, [contenteditable]");
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  if (performance.now() - afterG < 1500) {
    afterG = -Infinity;
    document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`)?.click();
    return;
  }
  const search = document.querySelector('[type="search"], [role="search"] input');
  if (event.key === "g") afterG = performance.now();
  else if (event.key === "?") byId("shortcuts")?.showModal();
  else if (event.key === "t") switchTheme();
  else if (event.key === "/" && search) search.focus();
  else return;
  event.preventDefault();
});

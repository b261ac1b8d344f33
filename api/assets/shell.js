// The portal's script: menus, palette, theme, the bridge to the dashboard's frame, and the end of the session.
// Every page works without it, but for the palette.

const $ = (css, from = document) => from.querySelector(css);
const $$ = (css, from = document) => [...from.querySelectorAll(css)];
const root = document.documentElement;
const main = $("#main");
const frame = $("iframe.frame");
const view = frame ? main.dataset : undefined;
const tabs = new BroadcastChannel("kyros");

// === menus ===

const menus = $$("details.menu");
const closeMenus = (but) => menus.forEach((menu) => menu !== but && (menu.open = false));
addEventListener("click", (event) => closeMenus(event.target.closest?.("details.menu")));
// A click into the frame is not seen here, but takes the focus there.
addEventListener("blur", () => closeMenus());
menus.forEach((menu) =>
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    $("summary", menu).focus();
  }),
);

// === palette ===

const palette = $("#palette");
const choices = palette ? $$("li", palette) : [];
const field = palette && $("input", palette);
const shown = () => choices.filter((choice) => !choice.hidden).map((choice) => $("a,button", choice));
const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
const has = (text, wanted) => wanted.every((word) => text.toLowerCase().includes(word));

function narrow() {
  const wanted = words(field.value);
  choices.forEach((choice) => (choice.hidden = !has(choice.textContent, wanted)));
  $(".nothing", palette).hidden = shown().length > 0;
}

function openPalette() {
  if (!palette || palette.open) return;
  closeMenus();
  field.value = "";
  narrow();
  palette.showModal();
}

palette?.addEventListener("input", narrow);
palette?.addEventListener("click", (event) => event.target === palette && palette.close());
palette?.addEventListener("keydown", (event) => {
  const list = shown();
  const at = list.indexOf(document.activeElement);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && list.length) {
    event.preventDefault();
    const next = at + step;
    (next < 0 ? field : list[next % list.length]).focus();
  } else if (event.key === "Enter" && at < 0) {
    event.preventDefault();
    list[0]?.click();
  } else if (at >= 0 && event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey) {
    field.focus();
  }
});
addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
  const action = { k: palette && openPalette, p: prints && printView }[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
});
$$("[data-open=palette]").forEach((button) => button.addEventListener("click", openPalette));

/** Whether the dashboard has said that it prints itself; the window's own printout ends where the frame does. */
let prints = false;

function printView() {
  if (prints) tell({ type: "kyros:print" });
  else print();
}

$("[data-action=print]")?.addEventListener("click", () => {
  palette.close();
  printView();
});
$("[data-action=sign-out]")?.addEventListener("click", () => $("form[action='/logout']").requestSubmit());

// === gallery ===

const filter = $("#q");
const cards = $$("#cards > li");
// The server has left out what its own filter does not show: then every change must ask it again.
if (filter && !filter.value) {
  filter.addEventListener("input", () => {
    const wanted = words(filter.value);
    cards.forEach((card) => (card.hidden = !has(card.textContent, wanted)));
    $("#none").hidden = cards.some((card) => !card.hidden);
  });
}
addEventListener("keydown", (event) => {
  if (event.target.closest?.("input,dialog,details") || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (event.key === "/" && filter) {
    event.preventDefault();
    filter.focus();
  } else if (step && cards.length) {
    const links = cards.filter((card) => !card.hidden).map((card) => $("a", card));
    const at = links.indexOf(document.activeElement);
    event.preventDefault();
    links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
  }
});

// === theme ===

const themes = $("form.themes");

async function choose(theme) {
  const form = new URLSearchParams({ csrf: themes.csrf.value, return_to: "/tenants", theme });
  // The answer leads to a page that nobody needs: only the cookie that comes with it counts.
  const answer = await fetch("/theme", { method: "POST", body: form, redirect: "manual" }).catch(() => undefined);
  if (answer?.type !== "opaqueredirect") return location.reload();
  root.dataset.theme = theme;
  $$("button", themes).forEach((button) => button.setAttribute("aria-pressed", String(button.value === theme)));
  tell({ type: "kyros:theme", theme });
}

themes?.addEventListener("submit", (event) => {
  if (!event.submitter?.value) return;
  event.preventDefault();
  choose(event.submitter.value);
});
$$("[data-theme-choice]").forEach((button) =>
  button.addEventListener("click", () => {
    palette.close();
    choose(button.dataset.themeChoice);
  }),
);
const theme = () => ($("button[aria-pressed=true]", themes) ?? {}).value ?? "system";

// === the dashboard's frame ===

/** To the dashboard, and to nobody who may have taken its place. */
function tell(message) {
  frame?.contentWindow?.postMessage(message, view.origin);
}

/** Keeps the address bar on what the frame shows, so that reloading and sharing lead there. */
function follow(path, title) {
  if (typeof path !== "string" || !/^\/(?!\/)/.test(path) || path.length > 4096) return;
  const tail = path.replace(/^\/(?=[?#]|$)/, "");
  history.replaceState(null, "", view.path + tail);
  $("#alone").href = view.origin + path;
  $("input[name=return_to]", themes).value = view.path + tail;
  $$("[data-returns]").forEach((link) => (link.href = "/login?" + new URLSearchParams({ return_to: view.path + tail.split("#")[0] })));
  if (typeof title === "string" && title) document.title = `${title.slice(0, 200)} · ${view.tenantName}`;
}

if (frame) {
  // The server never sees what stands behind the hash.
  if (location.hash) frame.src += location.hash;
  follow((location.pathname.slice(view.path.length) || "/") + location.search + location.hash);
  const late = setTimeout(() => {
    $("#loading p").textContent += " It is still starting; this page shows it as soon as it answers.";
  }, 10_000);
  frame.addEventListener("load", () => {
    clearTimeout(late);
    $("#loading").hidden = true;
  });
  addEventListener("message", (event) => {
    if (event.source !== frame.contentWindow) return;
    const type = event.data?.type;
    if (type === "kyros:expired" && [location.origin, view.origin].includes(event.origin)) return expired();
    if (event.origin !== view.origin) return;
    if (type === "kyros:hello") {
      prints = true;
      tell({ type: "kyros:theme", theme: theme() });
    }
    if (type === "kyros:nav") follow(event.data.path, event.data.title);
    if (type === "kyros:palette") openPalette();
  });
}

// === the end of the session ===

const WARN = 120;
const ASK_EVERY = 15_000;
let end = view ? Date.now() + Number(view.secondsLeft) * 1000 : undefined;
let warned = false;

/** Covers the view for good. What somebody may no longer see leaves the page with its frame. */
function cover(reason) {
  const dialog = document.getElementById(reason);
  if (!dialog || dialog.open) return;
  $$("dialog[open]").forEach((other) => other.close());
  if (reason !== "expired") frame.remove();
  dialog.showModal();
}

$$("dialog.cover").forEach((dialog) => dialog.addEventListener("cancel", (event) => event.preventDefault()));
$("[data-close]")?.addEventListener("click", () => $("#ending").close());

let asking;

/** Asks whether the view may go on, once at a time. A portal that does not answer is no reason to end it: the sidecar guards the data. */
function check() {
  const query = new URLSearchParams({ tenant: view.tenant, dashboard: view.dashboard });
  asking ??= fetch(`/session?${query}`)
    .then((answer) => answer.json())
    .then(judge, () => undefined)
    .finally(() => (asking = undefined));
  return asking;
}

function judge(answer) {
  if (answer.state !== "open") return cover(answer.state === "signed-out" && Date.now() >= end ? "expired" : answer.state);
  end = Date.now() + answer.expires_in * 1000;
  if ($("dialog.cover[open]")) location.reload();
}

let reopened = false;

/** The frame may show nothing any more. Where it may after all, somebody signed in again meanwhile. */
async function expired() {
  await check();
  if (reopened || $("dialog.cover[open]")) return;
  reopened = true;
  frame.src = view.origin + ($("#alone").href.slice(view.origin.length) || "/");
}

function tick() {
  const left = Math.max(0, Math.round((end - Date.now()) / 1000));
  if (left === 0) cover("expired");
  else if (left <= WARN && !$("dialog.cover[open]")) {
    $("#left").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    if (!warned) $("#ending").showModal();
    warned = true;
  }
}

if (view) {
  setInterval(tick, 1000);
  setInterval(() => document.hidden || check(), ASK_EVERY);
  addEventListener("focus", check);
  document.addEventListener("visibilitychange", () => document.hidden || check());
}
$$("form[action='/logout']").forEach((form) => form.addEventListener("submit", () => setTimeout(() => tabs.postMessage("signed-out"), 300)));
tabs.onmessage = () => (view ? check() : location.reload());

// Beside the portal's frame: says which page of the dashboard is shown and what it is called, passes Ctrl-K on, prints itself whole, and
// obeys the portal's theme. A dashboard that wants this loads it as <script type="module" src="/.kyros/embed.js"></script>; none needs it.
// Messages go to the portal's exact origin and are taken from nobody else.
const PORTAL = "$PORTAL";
const inPortal = parent !== window && (location.ancestorOrigins?.[0] ?? PORTAL) === PORTAL;

function start() {
  const tell = (type, more) => parent.postMessage({ type, ...more }, PORTAL);
  let last = "";
  const report = () => {
    const path = location.pathname + location.search + location.hash;
    const now = `${path}\n${document.title}`;
    if (now === last) return;
    last = now;
    tell("kyros:nav", { path, title: document.title });
  };

  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    history[name] = function (...args) {
      const result = original.apply(this, args);
      report();
      return result;
    };
  }
  addEventListener("popstate", report);
  addEventListener("hashchange", report);
  new MutationObserver(report).observe(document.head, { childList: true, subtree: true, characterData: true });

  const pressed = (event, key) =>
    (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === key;
  addEventListener("keydown", (event) => {
    // A dashboard with a palette or a printout of its own keeps it.
    if (event.defaultPrevented || !(pressed(event, "k") || pressed(event, "p"))) return;
    event.preventDefault();
    if (pressed(event, "k")) tell("kyros:palette");
    // The browser would print the window around it, and cut the dashboard off where the frame ends.
    else print();
  });

  addEventListener("message", (event) => {
    if (event.origin !== PORTAL || event.source !== parent) return;
    if (event.data?.type === "kyros:print") print();
    if (event.data?.type === "kyros:theme" && ["light", "dark", "system"].includes(event.data.theme)) {
      document.documentElement.dataset.theme = event.data.theme;
    }
  });
  // For a dashboard's own script, which learns of the session's end first.
  addEventListener("kyros:expired", () => tell("kyros:expired"));

  tell("kyros:hello");
  report();
}

if (inPortal) start();

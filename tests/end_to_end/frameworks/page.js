// What the tests ask of a page, whatever framework made it: shadow roots are part of the page as people see it.
const silent = ["SCRIPT", "STYLE", "TEMPLATE", "NOSCRIPT"];
const inline = ["A", "B", "EM", "I", "SPAN", "STRONG"];

// The element's own children, or those of its shadow root and then these.
function below(node) {
  return node.shadowRoot ? [node.shadowRoot, ...node.childNodes] : [...node.childNodes];
}

// All text, a line for each block.
function text(node = document.body) {
  if (!node || silent.includes(node.tagName)) return "";
  if (node.nodeType === Node.TEXT_NODE) return node.data.replace(/\s+/g, " ");
  const inside = below(node).map(text).join("");
  return node.nodeType === Node.ELEMENT_NODE && !inline.includes(node.tagName) ? `\n${inside}\n` : inside;
}

// The innermost element that says exactly this.
function labelled(label, node = document.body) {
  for (const child of below(node)) {
    if (child.nodeType === Node.TEXT_NODE || silent.includes(child.tagName)) continue;
    const found = labelled(label, child);
    if (found) return found;
  }
  return node.nodeType === Node.ELEMENT_NODE && node.textContent.trim() === label ? node : null;
}

function all(css, root = document) {
  const hosts = [...root.querySelectorAll("*")].filter(element => element.shadowRoot);
  return [...root.querySelectorAll(css), ...hosts.flatMap(host => all(css, host.shadowRoot))];
}

function liveLine() {
  return (text().match(/.*orders at.*/) || [""])[0].trim();
}

// What was loaded from, or at least asked of, anybody but the page's own host.
function fromElsewhere() {
  const urls = performance.getEntriesByType("resource").map(entry => entry.name);
  return urls.filter(url => /^(https?|wss?):/.test(url) && new URL(url).host !== location.host);
}


// Kyros dashboards: replaces the view when a filter changes, says when data changes and when the session has ended.
{
const root = document.documentElement;
const by = id => document.getElementById(id);
let ended = false;

// --- The view: the address is the only state; every change could as well be a page load.
let shown = location.pathname + location.search;
let loading;

// A page without filters has nothing to swap.
const form = document.querySelector('form.filters');

const say = text => {
  by('said').textContent = text;
};

// Where the focus is, in words that also mean something in the next view.
const place = () => {
  const at = document.activeElement;
  if (!at || !by('view').contains(at)) return undefined;
  return { figure: at.closest('figure[id], nav, ul')?.id, key: at.dataset.key };
};
const refocus = place => {
  if (!place) return;
  const scope = (place.figure && by(place.figure)) || by('view');
  const same = [...scope.querySelectorAll('a[data-filter]')].filter(a => a.dataset.key === place.key);
  const seen = place.key ? same.find(a => a.getClientRects().length) : undefined;
  (seen ?? by('view')).focus({ preventScroll: true });
};

// Controls stay the same elements, so that whoever is using one keeps it.
const fill = form => {
  for (const control of document.querySelectorAll('form.filters [name]')) {
    const next = form.querySelector(`[name="${control.name}"]`);
    if (next) control.value = next.value;
  }
};

const swap = async (url, push) => {
  if (ended) return;
  loading?.abort();
  const mine = loading = new AbortController();
  by('view').setAttribute('aria-busy', 'true');
  let next;
  try {
    const answer = await fetch(url, { signal: mine.signal, headers: { Accept: 'text/html' } });
    next = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const whole = !answer.redirected && next.getElementById('view') && next.querySelector('form.filters');
    if (!whole) throw new Error('not a view');
  } catch {
    if (!mine.signal.aborted) location.assign(url);
    return;
  }
  if (mine.signal.aborted) return;
  const focus = place();
  document.dispatchEvent(new Event('kyros:swap'));
  for (const id of ['view', 'tools']) by(id).replaceWith(next.getElementById(id));
  fill(next.querySelector('form.filters'));
  document.title = next.title;
  if (push) history.pushState(null, '', url);
  shown = location.pathname + location.search;
  refocus(focus);
  say(by('view').querySelector('.summary')?.textContent ?? '');
};

document.addEventListener('click', event => {
  const link = event.target.closest?.('a[data-filter]');
  if (!link || !form || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href.baseVal ?? link.href, location.href);
  if (url.pathname !== location.pathname) return;
  event.preventDefault();
  swap(url.pathname + url.search, true);
});

const asked = () => {
  const pairs = [...new FormData(form)].filter(([, value]) => value);
  const query = new URLSearchParams(pairs).toString();
  return location.pathname + (query && `?${query}`);
};
form?.addEventListener('submit', event => {
  event.preventDefault();
  swap(asked(), true);
});
// A list applies at once; a day is typed in parts, so it waits for Enter or the button.
form?.addEventListener('change', event => {
  if (event.target.matches('select')) swap(asked(), true);
});
addEventListener('popstate', () => {
  if (location.pathname + location.search !== shown) swap(location.pathname + location.search, false);
});

// --- The socket: new data, and the end of the session.
const news = by('news');
const tell = (text, link) => {
  news.textContent = text + ' ';
  const a = document.createElement('a');
  a.href = location.href;
  a.textContent = link;
  a.onclick = event => {
    event.preventDefault();
    location.reload();
  };
  news.append(a);
  news.hidden = false;
};
const end = () => {
  ended = true;
  loading?.abort();
  // The portal's frame offers to sign in.
  dispatchEvent(new Event('kyros:expired'));
  // Nothing of the tenant's stays on the screen.
  const main = document.querySelector('main');
  const title = document.querySelector('h1');
  if (document.querySelector('.crumbs')) title.textContent = 'Dashboard';
  main.replaceChildren(title, news);
  document.body.replaceChildren(main);
  document.title = title.textContent;
  tell('Your session has ended.', 'Sign in again');
};
let pause = 1000;
const connect = () => {
  const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/live`);
  socket.onmessage = event => {
    pause = 1000;
    root.dataset.live = 'open';
    if (JSON.parse(event.data).type === 'changed') tell('The data has changed.', 'Show it');
  };
  socket.onclose = event => {
    root.dataset.live = String(event.code);
    // 4001: the session has ended, stay away; anything else: come back.
    if (event.code === 4001) end();
    else {
      setTimeout(connect, pause);
      pause = Math.min(pause * 2, 30000);
    }
  };
};
connect();
}

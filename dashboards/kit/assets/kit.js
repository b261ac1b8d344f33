// Kyros dashboards: says when the data behind an open page changes, and when the session has ended.
const news = document.getElementById('news');
const say = (text, link) => {
  news.textContent = text + ' ';
  if (link) {
    const a = document.createElement('a');
    a.href = location.href;
    a.textContent = link;
    news.append(a);
  }
  news.hidden = false;
};
let pause = 1000;
const connect = () => {
  const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/live`);
  socket.onmessage = (event) => {
    pause = 1000;
    document.documentElement.dataset.live = 'open';
    if (JSON.parse(event.data).type === 'changed') say('The data has changed.', 'Show it');
  };
  socket.onclose = (event) => {
    document.documentElement.dataset.live = String(event.code);
    // 4001: the session has ended, stay away; anything else: come back.
    if (event.code === 4001) {
      // Nothing of the tenant's stays on the screen.
      document.querySelector('main').replaceChildren(document.querySelector('h1'), news);
      say('Your session has ended.');
      return;
    }
    setTimeout(connect, pause);
    pause = Math.min(pause * 2, 30000);
  };
};
connect();

// Kyros charts: tooltip, arrow keys and cross-highlighting over server-rendered marks. No dependency.
const tip = document.createElement('div');
tip.className = 'chart-tip';
tip.hidden = true;
tip.setAttribute('role', 'status');
document.body.append(tip);
let current;

const hide = () => {
  tip.hidden = true;
  current = undefined;
  for (const e of document.querySelectorAll('.hot')) e.classList.remove('hot', 'at');
};

const show = (mark, x, y) => {
  if (mark !== current) {
    hide();
    current = mark;
    mark.classList.add('hot', 'at');
    const { key } = mark.dataset;
    if (key) for (const e of document.querySelectorAll('[data-key]')) if (e.dataset.key === key) e.classList.add('hot');
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
  }
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, x + 12))}px`;
  tip.style.top = `${y < height + 20 ? y + 16 : y - height - 12}px`;
};

const showAt = mark => {
  mark.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  const r = mark.getBoundingClientRect();
  show(mark, r.x + r.width / 2, r.y);
};

// The mark an arrow key leads to. In a grid, up and down stay in the column.
const next = (nav, mark, key) => {
  const marks = [...nav.querySelectorAll('[data-tip]')];
  const i = marks.indexOf(mark);
  if (key === 'Home' || (i < 0 && key.startsWith('Arrow'))) return marks[0];
  if (key === 'End') return marks.at(-1);
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
  if (!step) return undefined;
  if (nav.dataset.nav === 'grid' && (key === 'ArrowUp' || key === 'ArrowDown')) {
    const row = mark.closest('table').rows[mark.parentNode.rowIndex + step];
    const cell = row?.cells[mark.cellIndex];
    return cell?.dataset.tip ? cell : mark;
  }
  return marks[Math.max(0, Math.min(marks.length - 1, i + step))];
};

addEventListener('pointermove', e => {
  const mark = e.target.closest?.('[data-tip]');
  if (mark) show(mark, e.clientX, e.clientY);
  else if (current && !current.closest('[data-nav]:focus-visible')) hide();
}, { passive: true });
document.documentElement.addEventListener('pointerleave', hide);

addEventListener('keydown', e => {
  if (e.key === 'Escape') return hide();
  const nav = e.target.closest?.('[data-nav]');
  const mark = nav && !e.ctrlKey && !e.metaKey && !e.altKey && next(nav, current, e.key);
  if (!mark) return;
  e.preventDefault();
  showAt(mark);
});
addEventListener('focusin', e => {
  const mark = e.target.closest?.('.chart a')?.querySelector('[data-tip]');
  if (mark) showAt(mark);
});
addEventListener('focusout', hide);
document.addEventListener('kyros:swap', hide);

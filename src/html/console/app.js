// Live news, keys, copying, relative times. Everything else works without it.
'use strict';
(() => {
  const root = document.documentElement;
  const main = document.querySelector('main');
  const one = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  root.classList.add('scripted');

  // ---- how long ago ----
  const ago = (then, now) => {
    const seconds = Math.round((now - then) / 1000);
    const past = Math.abs(seconds);
    const [count, unit] = past < 60 ? [past, 's'] : past < 3600 ? [Math.floor(past / 60), 'min']
      : past < 86400 ? [Math.floor(past / 3600), 'h'] : [Math.floor(past / 86400), 'd'];
    return seconds < -4 ? `in ${count} ${unit}` : past < 5 ? 'just now' : `${count} ${unit} ago`;
  };
  // The server's clock decides, as it did when the page was made.
  const skew = Date.parse(root.dataset.now) - Date.now();
  const age = () => {
    const now = Date.now() + skew;
    for (const node of all('[data-ago]')) {
      const text = ago(Date.parse(node.dataset.ago), now);
      if (node.textContent !== text) node.textContent = text;
    }
  };
  setInterval(age, 5000);

  // ---- copying ----
  for (const button of all('[data-copy]')) {
    button.addEventListener('click', async () => {
      const before = button.textContent;
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        button.textContent = 'copied';
      } catch {
        button.textContent = 'cannot copy here';
      }
      setTimeout(() => { button.textContent = before; }, 1500);
    });
  }

  // ---- choosing many ----
  const every = one('[data-every]');
  if (every) {
    every.hidden = false;
    const boxes = () => all('input[name=alert]');
    const count = one('[data-chosen]');
    const tell = () => {
      const chosen = boxes().filter((box) => box.checked).length;
      if (count) count.textContent = chosen ? `${chosen} chosen` : '';
    };
    every.addEventListener('change', () => {
      for (const box of boxes()) box.checked = every.checked;
      tell();
    });
    document.addEventListener('change', tell);
    tell();
  }

  // ---- Alt-click on a value leaves it out ----
  document.addEventListener('click', (event) => {
    const link = event.target.closest && event.target.closest('a[data-not]');
    if (link && event.altKey) {
      event.preventDefault();
      location.href = link.dataset.not;
    }
  }, true);

  // ---- keys ----
  const has = (name) => { try { return localStorage.getItem(name) === 'off'; } catch { return false; } };
  const toggle = one('[data-keys]');
  if (toggle) {
    toggle.checked = !has('keys');
    toggle.disabled = false;
    toggle.addEventListener('change', () => {
      try { localStorage.setItem('keys', toggle.checked ? 'on' : 'off'); } catch { /* Not kept, then. */ }
    });
  }
  const rows = () => all('tr[data-href]');
  let at = -1;
  const go = (step) => {
    const list = rows();
    if (!list.length) return;
    at = Math.min(list.length - 1, Math.max(0, at + step));
    for (const row of list) row.classList.remove('picked');
    list[at].classList.add('picked');
    const link = one('a', list[at]);
    if (link) link.focus({ preventScroll: true });
    list[at].scrollIntoView({ block: 'nearest' });
  };
  const act = (name) => {
    const target = one(`[data-key="${name}"]`);
    if (target) { target.focus(); target.click(); }
  };
  const help = one('#keys');
  document.addEventListener('keydown', (event) => {
    if (has('keys') || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest('input, select, textarea, [contenteditable]')) return;
    if (help && help.open && event.key !== '?') return;
    switch (event.key) {
      case '/': { const field = one('[data-find]'); if (field) { event.preventDefault(); field.focus(); } break; }
      case 'j': go(1); break;
      case 'k': go(-1); break;
      case 'x': { const box = rows()[at] && one('input[type=checkbox]', rows()[at]); if (box) box.click(); break; }
      case 'a': act('a'); break;
      case 's': act('s'); break;
      case '?': if (help) { if (help.open) help.close(); else help.showModal(); } break;
      default: return;
    }
  });

  // ---- live ----
  const live = one('.live');
  const news = one('.news');
  const title = document.title;
  let fresh = 0;
  let firing = Number(root.dataset.firing || 0);
  const tab = () => { document.title = firing ? `(${firing}) ${title}` : title; };
  tab();
  const say = (state, text) => {
    if (live) { live.dataset.state = state; live.textContent = text; }
  };
  const announce = (text) => {
    if (!news) return;
    news.firstElementChild.textContent = text;
    news.hidden = false;
  };
  if (live && window.EventSource) {
    // A stream ends after 25 s, and the browser opens the next one within a second or two. If none is opened for longer, the
    // server hangs, or the connection is gone and nobody was told: another one is tried.
    const SILENCE_MAX = 35000;
    const clock = () => new Date().toTimeString().slice(0, 8);
    let source = null;
    let [lost, silent, since, missed] = [0, 0, clock(), false];
    const stale = () => say('off', `connection lost; this page is as of ${since}`);
    const heard = () => {
      clearTimeout(lost);
      [lost, since] = [0, clock()];
      say('on', 'live');
      watch();
    };
    const watch = () => {
      clearTimeout(silent);
      silent = setTimeout(() => {
        stale();
        // The browser goes on by itself where it is about to.
        if (source.readyState === EventSource.CONNECTING) { watch(); return; }
        missed = true;
        connect();
      }, SILENCE_MAX);
    };
    const connect = () => {
      if (source) source.close();
      source = new EventSource(root.dataset.stream);
      source.addEventListener('open', () => {
        heard();
        // A new one says nothing of what was before it.
        if (missed) announce('news may be missing: reload');
        missed = false;
      });
      source.addEventListener('firing', (event) => {
        heard();
        const told = JSON.parse(event.data);
        firing = told.firing;
        for (const node of all('[data-firing-count]')) node.textContent = firing;
        tab();
      });
      source.addEventListener('alert', (event) => {
        const told = JSON.parse(event.data);
        if (told.what !== 'firing') return;
        fresh += 1;
        announce(`${fresh} new: show`);
      });
      source.addEventListener('reload', () => announce('there is more than fits: reload'));
      source.addEventListener('error', () => {
        if (!lost && live.dataset.state !== 'off') since = clock();
        lost = lost || setTimeout(stale, 5000);
      });
      watch();
    };
    connect();
    addEventListener('pagehide', () => { clearTimeout(silent); source.close(); });
    addEventListener('pageshow', (event) => { if (event.persisted) { missed = true; connect(); } });
  }
  if (news) news.addEventListener('click', (event) => { event.preventDefault(); location.reload(); });
})();

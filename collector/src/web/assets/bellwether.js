// Bellwether's pages work without this. With it: theme, live numbers, filter and find as you type, keys, copy.
'use strict';
(() => {
  const root = document.documentElement;
  const find = (id) => document.getElementById(id);

  // Theme: before the first paint. 'system' is the absence of a choice.
  const themes = ['system', 'light', 'dark'];
  const stored = () => { try { return localStorage.getItem('theme'); } catch { return null; } };
  const applyTheme = (theme) => {
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme; else delete root.dataset.theme;
  };
  root.classList.add('js');
  applyTheme(stored());

  const typing = (node) => node && (node.matches('input, select, textarea') || node.isContentEditable);

  // Changes `old` into `fresh` in place, so that focus, hover, selection and open rows stay as they are.
  const morph = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || keyOf(old) !== keyOf(fresh)) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (typing(old)) return;
    // Details that have come stay, though the page may have room for others by now.
    if (old.matches('.detail') && fresh.querySelector('[data-more]') && !old.querySelector('[data-more]')) return;
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === 'open' || name === 'hidden')) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (name !== 'hidden' && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    morphChildren(old, fresh);
  };
  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.getAttribute('data-key') || node.id : '');
  const morphChildren = (old, fresh) => {
    const known = new Map([...old.children].map((child) => [keyOf(child), child]).filter(([key]) => key));
    let wanted = [...fresh.childNodes];
    // A row never moves away under the pointer: while it is over the table the old order stays.
    if (old.matches('tbody:hover')) {
      const places = new Map([...old.children].map((child, place) => [keyOf(child), place]));
      const place = (node) => places.get(keyOf(node)) ?? places.size;
      wanted = wanted.sort((a, b) => place(a) - place(b));
    }
    let next = old.firstChild;
    for (const child of wanted) {
      const same = known.get(keyOf(child));
      if (same) {
        if (same === next) next = next.nextSibling; else old.insertBefore(same, next);
        known.delete(keyOf(child));
        morph(same, child);
      } else if (next && !keyOf(next) && !keyOf(child)) {
        const current = next;
        next = next.nextSibling;
        morph(current, child);
      } else {
        old.insertBefore(child, next);
      }
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  };

  // Live: an event only says that there is something newer; the page is then asked for anew.
  const LOST = 'disconnected: the numbers are old';
  let paused = false;
  let late = false;
  // The reader has asked for other rows, which pausing does not refuse.
  let asked = false;
  // What the rows that the page has were chosen by: the filter in the address that they came from.
  const needleOf = (text) => (text ?? '').trim().toLowerCase();
  const filterIn = (address) => needleOf(new URL(address).searchParams.get('q'));
  let narrowed = filterIn(location.href);
  const main = () => find('main');
  const say = (state, text) => {
    const live = find('live');
    if (!live) return;
    live.dataset.state = state;
    live.lastElementChild.textContent = text;
  };
  const tell = (word) => say(paused ? 'paused' : 'on', paused ? 'paused' : word);
  // What the page's address says, in place; also for a page that is not live, when its address has changed.
  const fetchPage = async () => {
    const address = location.href;
    try {
      const answer = await fetch(address, { headers: { accept: 'text/html' } });
      const text = await answer.text();
      const page = new DOMParser().parseFromString(text, 'text/html');
      const fresh = page.getElementById('main');
      if (fresh && (asked || !paused) && address === location.href) {
        asked = false;
        narrowed = filterIn(address);
        const focused = document.activeElement;
        morph(main(), document.adoptNode(fresh));
        document.title = page.title;
        if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
        filterRows();
      }
    } catch {
      say('off', LOST);
      // Whoever asked is told by the browser.
      if (asked) location.reload();
    }
  };
  let running;
  const refresh = () => {
    late = true;
    running ??= (async () => {
      while (late) {
        late = false;
        await fetchPage();
      }
      running = undefined;
    })();
    return running;
  };
  let events;
  let silence;
  const stop = () => {
    clearTimeout(silence);
    events?.close();
    events = undefined;
  };
  // A browser opens few connections to one origin, so a page that nobody sees gives its stream back.
  const listen = () => {
    if (events || document.hidden || !main().hasAttribute('data-live')) return;
    const stream = new EventSource('/events');
    events = stream;
    stream.onopen = () => {
      clearTimeout(silence);
      const back = find('live')?.dataset.state === 'off';
      tell(back ? 'reconnected' : 'live');
      if (back) setTimeout(() => { if (find('live')?.dataset.state === 'on') tell('live'); }, 4000);
    };
    stream.onerror = () => {
      clearTimeout(silence);
      silence = setTimeout(() => say('off', LOST), 700);
      // A refusal closes the stream for good; it is asked for again.
      if (stream.readyState === EventSource.CLOSED && events === stream) {
        events = undefined;
        setTimeout(listen, 5000);
      }
    };
    stream.addEventListener('window', (event) => {
      if (!paused && event.data !== main().dataset.live) refresh();
    });
  };
  const togglePause = () => {
    const button = find('pause');
    if (!button) return;
    paused = !paused;
    button.setAttribute('aria-pressed', String(paused));
    button.textContent = paused ? 'Go on' : 'Pause';
    tell('live');
    if (!paused) refresh();
  };

  // Filter: hides rows that do not contain the text, and keeps the text in the address.
  const filterRows = () => {
    const box = document.querySelector('[data-filter]');
    const table = box && find(box.dataset.filter);
    if (!table) return;
    const needle = needleOf(box.value);
    let shown = 0;
    for (const row of table.querySelectorAll('[data-row]')) {
      row.hidden = needle !== '' && !row.dataset.text.includes(needle);
      if (!row.hidden) shown += 1;
    }
    const note = document.querySelector(`[data-empty-for="${box.dataset.filter}"]`);
    if (note) note.hidden = shown > 0;
  };
  let asking;
  const typed = () => {
    const box = document.querySelector('[data-filter]');
    const address = new URL(location.href);
    if (box.value.trim()) address.searchParams.set('q', box.value.trim()); else address.searchParams.delete('q');
    history.replaceState(null, '', address);
    filterRows();
    // Rows that the server has left out have to be asked for, once the typing pauses. A page that is paused keeps its
    // numbers as long as it has the rows: until the filter is wider than the one it was made with.
    clearTimeout(asking);
    asking = setTimeout(() => {
      asked ||= !needleOf(box.value).includes(narrowed);
      refresh();
    }, 200);
  };

  // Other rows of the same page: its address changes, the page stays.
  const go = (address, keep = history.pushState) => {
    keep.call(history, null, '', address);
    asked = true;
    return refresh();
  };

  // The details of a row that the page had no room for; where they do not come, the link to them stays.
  const details = async (row) => {
    try {
      const answer = await fetch(`${location.pathname}/spans/${row.dataset.key}`);
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const detail = page.querySelector('.detail');
      if (detail) row.querySelector('.detail').replaceWith(document.adoptNode(detail));
    } catch { /* as if it had not been opened */ }
  };

  // Find: the server looks through everything of a trace; here one steps through what it found.
  let step = -1;
  const stepTo = (by) => {
    const hits = [...document.querySelectorAll('.hit')];
    if (hits.length === 0) return;
    const here = hits.findIndex((row) => row.contains(document.activeElement));
    step = ((here >= 0 ? here : step) + by + hits.length) % hits.length;
    for (const row of document.querySelectorAll('.at')) row.classList.remove('at');
    const row = hits[step];
    row.classList.add('at');
    row.scrollIntoView({ block: 'center' });
    if (!typing(document.activeElement)) row.querySelector('summary').focus({ preventScroll: true });
  };
  const found = (box) => {
    const address = new URL(location.href);
    for (const name of ['first', 'span']) address.searchParams.delete(name);
    address.hash = '';
    if (box.value.trim()) address.searchParams.set('find', box.value.trim()); else address.searchParams.delete('find');
    step = -1;
    return address.href === location.href ? undefined : go(address, history.replaceState);
  };
  let finding;
  const onFind = (event) => {
    clearTimeout(finding);
    if (event.type === 'input') finding = setTimeout(() => found(event.target), 200);
    else Promise.resolve(found(event.target.querySelector('#filter'))).then(() => stepTo(1));
  };

  // Keys.
  // Of a row without a link none could be stepped on from.
  const rows = () => [...document.querySelectorAll('[data-row]')].filter((row) => !row.hidden && row.querySelector('summary, a'));
  const move = (step) => {
    const all = rows();
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const row = all[Math.max(0, Math.min(all.length - 1, at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step))];
    row?.querySelector('summary, a')?.focus();
    row?.scrollIntoView({ block: 'nearest' });
  };
  /** Folds the row that has the focus, or unfolds it; whether there was something to do. */
  const foldRow = (fold) => {
    const link = document.activeElement?.closest?.('.span')?.querySelector(`a.fold[aria-expanded="${fold}"]`);
    if (link) go(link.href);
    return Boolean(link);
  };
  const onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const help = find('help');
    if (event.key === 'Escape') {
      if (help.open) help.close(); else document.activeElement?.blur();
      return;
    }
    if (typing(event.target) || help.open) return;
    const tab = document.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
    if (event.key === '/') find('filter')?.focus();
    else if (event.key === 'j') move(1);
    else if (event.key === 'k') move(-1);
    else if (event.key === '?') help.showModal();
    else if (event.key === 'p') togglePause();
    else if (event.key === 'n') stepTo(1);
    else if (event.key === 'N') stepTo(-1);
    else if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') { if (!foldRow(event.key === 'ArrowLeft')) return; }
    else if (tab) tab.click();
    else return;
    event.preventDefault();
  };

  const copy = async (button) => {
    const source = find(button.dataset.copy);
    let done = 'Copied';
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // Outside a secure context there is no clipboard: the text is selected instead.
      getSelection().selectAllChildren(source);
      done = 'Selected';
    }
    button.textContent = done;
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  };

  const linked = () => {
    // A fragment may be anything that somebody has typed.
    try { return find(decodeURIComponent(location.hash.slice(1))); } catch { return null; }
  };
  const openLinked = () => {
    const target = linked();
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView({ block: 'center' });
    }
  };

  document.addEventListener('DOMContentLoaded', () => {
    const theme = find('theme');
    const name = () => { theme.textContent = `Theme: ${root.dataset.theme ?? 'system'}`; };
    name();
    theme.addEventListener('click', () => {
      const next = themes[(themes.indexOf(root.dataset.theme ?? 'system') + 1) % themes.length];
      try { localStorage.setItem('theme', next); } catch { /* it then lasts as long as the page */ }
      applyTheme(next);
      name();
    });
    find('keys').addEventListener('click', () => find('help').showModal());
    find('pause')?.addEventListener('click', togglePause);
    document.addEventListener('keydown', onKey);
    document.addEventListener('click', (event) => {
      const button = event.target.closest?.('[data-copy]');
      if (button) copy(button);
      const stepping = event.target.closest?.('[data-step]');
      const link = event.target.closest?.('a[data-go]');
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      // Where the page has none of the rows found, the link leads to the one that has.
      if (stepping && document.querySelector('.hit')) stepTo(Number(stepping.dataset.step));
      else if (link) go(link.href).then(openLinked);
      else return;
      event.preventDefault();
    });
    document.addEventListener('submit', (event) => {
      if (!event.target.matches('[data-find]')) return;
      event.preventDefault();
      onFind(event);
    });
    // Details that the page had no room for come when their row is opened.
    document.addEventListener('toggle', (event) => {
      if (event.target.open && event.target.querySelector('[data-more]')) details(event.target);
    }, true);
    addEventListener('popstate', () => {
      const box = document.querySelector('[data-find] #filter');
      if (box) box.value = new URL(location.href).searchParams.get('find') ?? '';
      asked = true;
      refresh();
    });
    document.addEventListener('input', (event) => {
      if (event.target.matches('[data-filter]')) typed();
      if (event.target.matches('[data-find] #filter')) onFind(event);
    });
    filterRows();
    openLinked();
    listen();
  });
  // A page brought back from the browser's cache has lost its stream; the first event tells what it missed.
  addEventListener('pagehide', stop);
  addEventListener('pageshow', (event) => { if (event.persisted) listen(); });
  document.addEventListener('visibilitychange', () => { if (document.hidden) stop(); else listen(); });
})();

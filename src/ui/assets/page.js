// Keeps the page up to date: when the server says that something has changed, it is read again, and what differs is
// replaced by its id. Without JavaScript everything is there too, as of when it was read.
"use strict";

/** What an element says, but for how far its times are from now, which the page counts itself. */
const meaning = (element) => {
  const copy = element.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) time.textContent = "";
  return copy.outerHTML;
};

/** What the server had sent for an element. */
const sent = new WeakMap();
const remember = (root) => {
  for (const element of root.querySelectorAll("[data-live], tbody > tr[id]")) sent.set(element, meaning(element));
};

// --- times count on

const human = (seconds) => {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days}d${hours}h`;
  if (hours > 0) return `${hours}h${minutes}m`;
  if (minutes > 0) return `${minutes}m${seconds % 60}s`;
  return `${seconds}s`;
};

/** How far the clock of this machine is ahead of the server's, in milliseconds. */
let ahead = 0;

const countOn = () => {
  const now = Date.now() - ahead;
  for (const time of document.querySelectorAll("time[datetime]")) {
    const away = Date.parse(time.dateTime) - now;
    if (Number.isNaN(away)) continue;
    const text = away > 0 ? `in ${human(Math.floor(away / 1000))}` : `${human(Math.floor(-away / 1000))} ago`;
    if (time.textContent !== text) time.textContent = text;
  }
};

// --- replacing by id

/** The place of the focus within an element, to find it again in what replaces the element. */
const focusWithin = (element) => {
  const focused = document.activeElement;
  if (!focused || focused === element || !element.contains(focused)) return null;
  return { id: focused.id, href: focused.getAttribute("href"), index: [...element.querySelectorAll("a,button,summary")].indexOf(focused) };
};

const restoreFocus = (element, place) => {
  if (!place) return;
  const all = [...element.querySelectorAll("a,button,summary")];
  const same = (place.id && document.getElementById(place.id)) || all.find((one) => place.href && one.getAttribute("href") === place.href);
  (same || all[place.index])?.focus({ preventScroll: true });
};

const swap = (old, fresh, mark) => {
  const place = focusWithin(old);
  old.replaceWith(fresh);
  if (mark) fresh.classList.add("fresh");
  restoreFocus(fresh, place);
};

/** Brings the rows of a table up to date, so that those that stay keep the focus and the place. */
const replaceRows = (old, fresh) => {
  const known = new Map([...old.rows].map((row) => [row.id, row]));
  const wanted = [...fresh.rows];
  const ids = new Set(wanted.map((row) => row.id));
  for (const [id, row] of known) if (!ids.has(id)) row.remove();
  wanted.forEach((row, index) => {
    const html = meaning(row);
    let current = known.get(row.id);
    if (!current || sent.get(current) !== html) {
      const adopted = document.importNode(row, true);
      sent.set(adopted, html);
      if (current) swap(current, adopted, true);
      current = adopted;
    }
    if (old.rows[index] !== current) {
      const place = current.contains(document.activeElement) ? document.activeElement : null;
      old.insertBefore(current, old.rows[index] ?? null);
      place?.focus({ preventScroll: true });
    }
  });
};

const canReplaceRows = (old, fresh) => {
  const [before, after] = [old.querySelectorAll("tbody"), fresh.querySelectorAll("tbody")];
  if (before.length !== 1 || after.length !== 1) return false;
  const rest = (element) => {
    const copy = element.cloneNode(true);
    copy.querySelector("tbody").remove();
    return meaning(copy);
  };
  return [...after[0].rows].every((row) => row.id) && rest(old) === rest(fresh);
};

const replace = (page) => {
  for (const fresh of page.querySelectorAll("[data-live]")) {
    const old = document.getElementById(fresh.id);
    const html = meaning(fresh);
    if (!old || sent.get(old) === html) continue;
    if (canReplaceRows(old, fresh)) {
      replaceRows(old.querySelector("tbody"), fresh.querySelector("tbody"));
      sent.set(old, html);
      continue;
    }
    const adopted = document.importNode(fresh, true);
    remember(adopted);
    sent.set(adopted, html);
    swap(old, adopted, false);
  }
  if (page.getElementById("live")) document.title = page.title;
};

// --- changes

let isReading = false;
let isStale = false;

/** Somebody who marks text to copy it does not want it replaced. */
const isMarking = () => {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && document.getElementById("content")?.contains(selection.anchorNode);
};

const read = async () => {
  if (document.hidden || isMarking()) return void (isStale = true);
  if (isReading) return void (isStale = true);
  isReading = true;
  isStale = false;
  try {
    const answer = await fetch(location.href, { cache: "no-store", redirect: "error" });
    // Log in again; or the task that was shown is gone.
    const isGone = answer.status === 404 && document.getElementById("why");
    if (answer.status === 401 || isGone) return location.reload();
    // 503 says why, above what is known.
    if (answer.ok || answer.status === 503) {
      replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
      ready();
    }
  } catch (error) {
    // The server is away: the browser connects again, and then everything is read.
    if (!(error instanceof TypeError)) throw error;
  } finally {
    isReading = false;
  }
};

let source = null;

const show = (isOn) => {
  const live = document.getElementById("live");
  if (!live) return;
  live.hidden = false;
  live.classList.toggle("off", !isOn);
  const text = isOn ? "Live" : "Not connected: trying again";
  if (live.textContent !== text) live.textContent = text;
};

const listen = () => {
  // The page of a task follows that task alone.
  source = new EventSource(`./events${location.pathname.endsWith("/task") ? location.search : ""}`);
  source.addEventListener("changed", read);
  source.addEventListener("time", (event) => {
    ahead = Date.now() - Number(event.data);
  });
  source.addEventListener("ended", () => location.reload());
  source.onopen = () => show(true);
  source.onerror = () => {
    show(false);
    // Refused, such as after the end of a session: the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(again, 3000);
  };
};

/** Reloads the page if our server answers: instead of it a proxy may, whose page would stay. */
const again = async () => {
  if (document.hidden) return;
  const answer = await fetch(location.href, { cache: "no-store" }).catch(() => null);
  if (answer?.ok || answer?.status === 401) location.reload();
  else setTimeout(again, 3000);
};

/** What the server cannot send: it works with JavaScript alone. */
const ready = () => {
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  if (source) show(source.readyState === EventSource.OPEN);
  countOn();
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy);
  // A policy of the browser, or a window without the focus, may forbid it: then it is marked, for Ctrl+C.
  const isCopied = await navigator.clipboard.writeText(text.textContent).then(() => true, () => false);
  if (!isCopied) document.getSelection().selectAllChildren(text);
  button.textContent = isCopied ? "Copied" : "Marked";
  setTimeout(() => (button.textContent = "Copy"), 1500);
});

document.addEventListener("visibilitychange", () => {
  if (!document.getElementById("live")) return;
  if (document.hidden) {
    // Nobody looks: the server may forget what it has.
    source?.close();
    source = null;
  } else if (!source) {
    listen();
    read();
  }
});

remember(document);
ready();
if (document.getElementById("live")) {
  if (!document.hidden) listen();
  setInterval(() => {
    countOn();
    if (isStale) read();
  }, 1000);
}

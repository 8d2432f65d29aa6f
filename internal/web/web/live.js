// Keeps the status page up to date: what the server sends replaces the parts of the page
// that changed. Without this script the page is as it was when it was loaded.
"use strict";
(() => {
  const parts = document.getElementById("parts");
  const live = document.getElementById("live");
  let source, again;

  const say = (text, good) => {
    live.textContent = text;
    live.classList.toggle("lost", !good);
  };

  // partName is the same for the part that replaces it.
  const partName = (part) => part.getAttribute("aria-labelledby") ?? part.querySelector("h2")?.id;

  // same reports whether what has the focus is what had it.
  const same = (a, b) => ["href", "id", "aria-labelledby"].every((name) => a.getAttribute(name) === b.getAttribute(name)) && a.tagName === b.tagName;

  const replace = (old, part) => {
    const focus = old.contains(document.activeElement) ? document.activeElement : null;
    const scrolled = [...old.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
    old.replaceWith(part);
    part.querySelectorAll(".scroll").forEach((e, i) => { e.scrollLeft = scrolled[i] ?? 0; });
    if (focus) [...part.querySelectorAll("a, button, input, [tabindex]")].find((e) => same(e, focus))?.focus({ preventScroll: true });
  };

  const show = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    const before = [...parts.children], after = [...template.content.children];
    if (before.map(partName).join() !== after.map(partName).join()) {
      const byName = new Map(before.map((part) => [partName(part), part]));
      const kept = after.map((part) => byName.get(partName(part)) ?? part);
      before.filter((part) => !kept.includes(part)).forEach((part) => part.remove());
      kept.forEach((part, i) => { if (parts.children[i] !== part) parts.insertBefore(part, parts.children[i] ?? null); });
    }
    [...parts.children].forEach((old, i) => {
      if (after[i] !== old && !old.isEqualNode(after[i])) replace(old, after[i]);
    });
  };

  // selecting reports whether somebody is about to copy something: it stays as it is.
  const selecting = () => {
    const selection = getSelection();
    return !selection.isCollapsed && parts.contains(selection.anchorNode);
  };

  let waiting = null; // what is to be shown once nothing is selected

  const open = () => {
    close();
    source = new EventSource(location.origin + "/events");
    source.onmessage = (message) => {
      const event = JSON.parse(message.data);
      waiting = event.html ?? waiting;
      if (waiting !== null && selecting()) return;
      if (waiting !== null) show(waiting);
      waiting = null;
      say("Live, as of " + event.at, true);
    };
    source.onerror = () => {
      say("Not live: the worker does not answer. What is shown may be old.", false);
      if (source.readyState === EventSource.CLOSED) again = setTimeout(open, 10000);
    };
  };
  const close = () => {
    clearTimeout(again);
    source?.close();
  };

  // A browser has few connections to a server. A page that nobody sees needs none.
  const follow = () => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
  follow();
})();

"use strict";
// The server renders; this only puts newer sections in the place of older ones. Closed or open stays so.
const every = 5000;
async function refresh() {
  if (document.hidden) return;
  const status = document.getElementById("status");
  try {
    const answer = await fetch("/", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const before = [...document.querySelectorAll("[data-live]")].map((section) => section.id).join();
    const after = [...fresh.querySelectorAll("[data-live]")].map((section) => section.id).join();
    if (before !== after) { location.reload(); return; }
    for (const section of fresh.querySelectorAll("[data-live]")) {
      const shown = document.getElementById(section.id);
      for (const open of shown.querySelectorAll("details[open]")) {
        const same = section.querySelector(`details[id="${CSS.escape(open.id)}"]`);
        if (same) same.open = true;
      }
      const focused = shown.contains(document.activeElement);
      if (!focused && shown.innerHTML !== section.innerHTML) shown.replaceChildren(...section.childNodes);
    }
    status.classList.remove("gone");
  } catch {
    status.classList.add("gone");
  }
}
setInterval(refresh, every);

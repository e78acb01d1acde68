// What HTML alone cannot do; each page works without it.
"use strict";

// Buttons that copy an id.
for (const button of document.querySelectorAll("[data-copy]")) show(button);
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not copied";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || "downloads" in form.dataset) return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button:not([type=button])")) button.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  }
});

// On the phone a search that is not in use takes one line, and the page's own link of the navigation is in sight.
const narrow = matchMedia("(max-width: 640px)");
function fold() {
  for (const part of document.querySelectorAll(".search")) part.open = !narrow.matches || "set" in part.dataset;
  document.querySelector(".pages [aria-current]")?.scrollIntoView({block: "nearest", inline: "center"});
}
narrow.addEventListener("change", fold);
fold();

// "/" leads to the first field of the filter.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  const field = document.querySelector(".filters input:not([type=hidden])");
  if (field) { event.preventDefault(); const part = field.closest("details"); if (part) part.open = true; field.focus(); }
});

// A part of a page that is asked for again and again: <div data-live="/console/…" data-seconds="3">. It ends when the
// part says data-over, and rests while nobody looks.
for (const part of document.querySelectorAll("[data-live]")) watch(part);

function watch(part) {
  let failures = 0;
  const again = () => setTimeout(ask, Number(part.dataset.seconds || 3) * 1000 * Math.min(2 ** failures, 20));
  async function ask() {
    if (document.hidden || part.contains(document.activeElement) && document.activeElement.closest("input, select, textarea")) return again();
    try {
      const answer = await fetch(part.dataset.live, {headers: {"x-requested-with": "console"}, redirect: "error"});
      if (!answer.ok) throw new Error(String(answer.status));
      const text = await answer.text();
      if (text !== part.dataset.was) {
        part.innerHTML = text;
        part.dataset.was = text;
        for (const button of part.querySelectorAll("[data-copy]")) show(button);
      }
      failures = 0;
    } catch {
      failures += 1;
    }
    if (!part.querySelector("[data-over]")) again();
  }
  if (!part.querySelector("[data-over]")) again();
}

// Boxes that tick all others of their form.
for (const box of document.querySelectorAll("[data-all]")) {
  show(box.closest("label") || box);
  box.addEventListener("change", () => {
    for (const other of document.querySelectorAll(`input[type=checkbox][name="${box.dataset.all}"]`)) other.checked = box.checked;
  });
}

// The preferences say which zone this browser is in.
const own = document.querySelector("[data-own-zone]");
if (own) {
  own.querySelector("code").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
  show(own);
}

function show(element) { element.hidden = false; }

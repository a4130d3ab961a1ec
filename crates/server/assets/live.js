// Pages work without this. With it, what has changed comes in by itself, times count on, and buttons say that they are at it.

// Whenever the server says that something may have changed, the page is fetched anew, and each part that is marked with
// data-live and is another now takes the place of the old one.
// A page that answers a form is found at another address than the form's, if at any.
const isAnswer = document.body.hasAttribute("data-answer");
const here = document.querySelector("[data-at]")?.dataset.at ?? (isAnswer ? undefined : location.href);
const parts = here ? [...document.querySelectorAll("[data-live][id]")] : [];
// Times count on by themselves: what differs in them alone is the same, and nobody's click falls between the two.
const timeless = (html) => html.replace(/(<time[^>]*>)[^<]*/g, "$1");
const shown = new Map(parts.map((part) => [part, timeless(part.innerHTML)]));
let fetching = false;
let again = false;

async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    const answer = await fetch(here, { headers: { Accept: "text/html" } });
    if (answer.ok && !answer.redirected) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts) replace(part, fresh.getElementById(part.id));
    }
  } catch { /* the server is away; the stream of events comes back by itself */ }
  fetching = false;
  if (again) { again = false; refresh(); }
}

// A part that somebody is at is left alone: they would lose what they type, or what they have opened.
function isInUse(part) {
  return part.querySelector("details.ask[open], dialog[open], input:checked, :is(input, select, textarea):focus") !== null;
}

function replace(part, fresh) {
  if (!fresh || timeless(fresh.innerHTML) === shown.get(part) || isInUse(part)) return;
  const versions = new Set([...part.querySelectorAll("[data-version]")].map(version));
  const focusable = "a[href], button, summary, [tabindex]";
  const focused = [...part.querySelectorAll(focusable)].indexOf(document.activeElement);
  const opened = new Set([...part.querySelectorAll("details[open][id]")].map((details) => details.id));
  shown.set(part, timeless(fresh.innerHTML));
  part.innerHTML = fresh.innerHTML;
  for (const id of opened) part.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
  if (focused >= 0) part.querySelectorAll(focusable)[focused]?.focus();
  for (const row of part.querySelectorAll("[data-version]")) {
    if (versions.size && !versions.has(version(row))) row.classList.add("fresh");
  }
}

const version = (row) => (row.dataset.contact ?? row.id) + row.dataset.version;

// A browser has few connections to one host: tabs that nobody sees keep none.
let stream;
function listen() {
  if (document.hidden || !parts.length) {
    stream?.close();
    stream = undefined;
  } else if (!stream) {
    stream = new EventSource("/events");
    stream.addEventListener("changed", refresh);
  }
}
document.addEventListener("visibilitychange", listen);
listen();

// Times count on.
const units = [[172800, 86400, "days"], [3600, 3600, "h"], [60, 60, "min"], [0, 1, "s"]];
setInterval(() => {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const seconds = Math.round((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (!/ago|now/.test(time.textContent) || seconds < 5) continue;
    const [, size, unit] = units.find(([from]) => seconds >= from);
    const words = `${Math.floor(seconds / size)} ${unit} ago`;
    if (time.textContent !== words) time.textContent = words;
  }
}, 5000);

// A form is sent once, and its button says that it is on its way.
document.addEventListener("submit", (event) => {
  const button = event.submitter ?? event.target.querySelector("button");
  if (event.target.dataset.sent) { event.preventDefault(); return; }
  if (event.target.method === "post") event.target.dataset.sent = "yes";
  button?.setAttribute("aria-busy", "true");
});
// Whoever comes back to the page may send it again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  const words = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = words; }, 1500);
});
for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;

// One box for all that are on the page.
document.addEventListener("change", (event) => {
  const all = event.target;
  const form = all.closest?.("form");
  if (!form || all.type !== "checkbox") return;
  const boxes = [...form.querySelectorAll("input[type=checkbox][data-one]")];
  if (all.dataset.all !== undefined) for (const box of boxes) if (!box.closest("[hidden]")) box.checked = all.checked;
  const count = form.querySelector("[data-chosen]");
  if (!count) return;
  // What was chosen on other pages counts, too.
  count.dataset.elsewhere ??= Number(count.textContent) - boxes.filter((box) => box.defaultChecked).length;
  count.textContent = String(Number(count.dataset.elsewhere) + boxes.filter((box) => box.checked).length);
});

// Behind what is typed into the last of a row of fields comes another one.
document.addEventListener("input", (event) => {
  const field = event.target;
  if (field.dataset?.grows === undefined || !field.value) return;
  const next = field.cloneNode();
  next.value = "";
  delete field.dataset.grows;
  field.after(next);
});

// Rows are looked for while one types; without script a button does it.
document.addEventListener("input", ({ target }) => {
  if (!target.dataset.filter) return;
  const part = target.value.trim().toLowerCase();
  for (const row of document.querySelectorAll(`#${target.dataset.filter} tr[data-words]`)) {
    row.hidden = !row.dataset.words.toLowerCase().includes(part) && !row.querySelector(".flaw");
  }
});

// What has been typed is looked at by the server before it is sent; what is wrong stands beside the field.
document.addEventListener("change", async ({ target }) => {
  const form = target.closest?.("form[data-check]");
  if (!form) return;
  const body = new URLSearchParams(new FormData(form));
  body.set("go", "check");
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected || form.dataset.sent) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const told of form.querySelectorAll("[data-told][id]")) {
      const words = fresh.getElementById(told.id)?.textContent ?? "";
      if (told.textContent === words) continue;
      // Its room stays: whoever presses the button below just now still meets it when they let go.
      if (!words) told.style.minHeight = `${told.offsetHeight}px`;
      told.textContent = words;
      form.querySelector(`[aria-describedby="${told.id}"]`)?.setAttribute("aria-invalid", String(words !== ""));
    }
  } catch { /* the server is away: it says what is wrong when the form is sent */ }
});

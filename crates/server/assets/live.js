// Follows changes: whenever the server says that something changed, the live part of the page is fetched anew
// and rows that were not there in that version are marked for a moment.
const overview = document.getElementById("overview");
const versions = () => new Set([...overview.querySelectorAll("[data-contact]")].map((row) => row.dataset.contact + row.dataset.version));

let fetching = false;
let again = false;
async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    const answer = await fetch("/overview");
    if (answer.ok) {
      const before = versions();
      overview.innerHTML = await answer.text();
      for (const row of overview.querySelectorAll("[data-contact]")) {
        if (before.size && !before.has(row.dataset.contact + row.dataset.version)) row.classList.add("fresh");
      }
    }
  } catch { /* the server is away; the event stream reconnects by itself */ }
  fetching = false;
  if (again) { again = false; refresh(); }
}
new EventSource("/events").addEventListener("changed", refresh);

const form = document.querySelector("form[action='/sync']");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try { await fetch("/sync", { method: "POST", redirect: "manual", body: new URLSearchParams(new FormData(form)) }); } finally { button.disabled = false; }
  refresh();
});

// Saves reloading; the page is whole without it.
"use strict";

const SECTIONS = ["state", "files", "apps", "changes", "spaces"];

async function load(url) {
  const response = await fetch(url, { headers: { accept: "text/html" } });
  if (!response.ok) throw new Error(`${response.status}`);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

function replace(from, id) {
  const [old, now] = [document.getElementById(id), from.getElementById(id)];
  if (old && now) old.replaceChildren(...now.childNodes);
}

// A form brings its own section up to date; when that fails, it is sent as without this script.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  const section = form.dataset.section;
  if (!section) return;
  event.preventDefault();
  const address = new URL(location.href);
  const fields = new FormData(form);
  for (const [name, value] of fields) address.searchParams.set(name, value);
  if (section === "files") address.searchParams.delete("files-after");
  if (section === "apps") address.searchParams.delete("after");
  address.hash = section;
  try {
    const page = await load(address);
    if (section === "why") {
      const [old, now] = [".result"].flatMap((part) => [document.querySelector(part), page.querySelector(part)]);
      old.replaceChildren(...now.childNodes);
    } else {
      replace(page, section);
      document.querySelector(`#${section} form input, #${section} form select`)?.focus();
    }
    history.replaceState(null, "", address);
  } catch {
    form.submit();
  }
});

// Rates every two seconds while somebody looks, and the rest when something changed; never what is being used.
let last;
async function refresh() {
  if (document.hidden) return;
  const response = await fetch("/rates");
  if (!response.ok) return;
  const { generation, files, rates } = await response.json();
  for (const cell of document.querySelectorAll("[data-rate]")) {
    cell.textContent = rates[cell.dataset.rate].toFixed(1);
  }
  const now = JSON.stringify([generation, files]);
  if (last !== undefined && last !== now) {
    const page = await load(location.href);
    for (const id of SECTIONS) {
      if (!document.getElementById(id)?.contains(document.activeElement)) replace(page, id);
    }
  }
  last = now;
  document.documentElement.dataset.live = "yes";
}
setInterval(() => refresh().catch(() => {}), 2000);
refresh().catch(() => {});

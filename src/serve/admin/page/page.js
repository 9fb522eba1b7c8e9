// Saves reloading; the page is whole without it.
"use strict";

const SECTIONS = ["state", "files", "apps", "changes", "upstreams", "spaces"];

// The address knows what the other forms were asked, and stays true when they are asked again.
const forget = (root) => root.querySelectorAll("input[type=hidden]").forEach((field) => field.remove());

async function load(url) {
  const response = await fetch(url, { headers: { accept: "text/html" } });
  if (!response.ok) throw new Error(`${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  forget(page);
  return page;
}

function replace(from, id) {
  const [old, now] = [document.getElementById(id), from.getElementById(id)];
  if (old && now) old.replaceChildren(...now.childNodes);
}

// A form, or a link from one part of a list to another, brings its own section up to date; when that fails, the whole page is
// asked for.
async function show(section, address) {
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
    location.assign(address);
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  const section = form.dataset.section;
  if (!section) return;
  event.preventDefault();
  const address = new URL(location.href);
  for (const [name, value] of new FormData(form)) address.searchParams.set(name, value);
  if (section === "files") address.searchParams.delete("files-after");
  if (section === "apps") address.searchParams.delete("after");
  show(section, address);
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-name]");
  if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const address = new URL(location.href);
  if (link.dataset.value) address.searchParams.set(link.dataset.name, link.dataset.value);
  else address.searchParams.delete(link.dataset.name);
  show(link.closest("section").id, address);
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
forget(document);
setInterval(() => refresh().catch(() => {}), 2000);
refresh().catch(() => {});

// Composes the name of an image on the front page. What was chosen is in the address's
// fragment, so that it can be kept and passed on.

import { Completion } from "./completion.js";

const form = document.getElementById("composer");
const command = document.getElementById("command");
const problem = document.getElementById("problem");
const layers = document.getElementById("layers");
const { packages, shell, platform } = form.elements;
const host = form.dataset.host;

// The components that a name may have (the book: reference, HTTP API).
const component = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

function compose() {
  const names = packages.value.toLowerCase().split(/[\s,/]+/).filter(Boolean);
  const wrong = names.find((name) => !component.test(name));
  const parts = [];
  if (platform.value) parts.push(platform.value);
  if (shell.checked) parts.push("shell");
  parts.push(...names);
  return { name: parts.join("/"), wrong, isEmpty: !names.length && !shell.checked };
}

// Says what went wrong, or right.
function say(text, isBad = false) {
  problem.textContent = text;
  problem.classList.toggle("failed", isBad);
}

function show() {
  const { name, wrong, isEmpty } = compose();
  say(wrong ? `${wrong} can't be a part of a name` : "", true);
  packages.setAttribute("aria-invalid", wrong ? "true" : "false");
  const isGood = !wrong && !isEmpty;
  command.textContent = isGood
    ? `docker run --rm -ti ${host}/${name}${shell.checked ? " bash" : ""}`
    : "";
  form.elements.make.disabled = !isGood;
  form.elements.copy.disabled = !isGood;
  clearTimeout(looking);
  looking = setTimeout(showLayers, 400, isGood ? name : "");
}

let looking = 0;
let shown = "";

// What the image consists of, if it has been made: as its own page shows it.
async function showLayers(name) {
  if (name === shown) return;
  shown = name;
  layers.replaceChildren();
  if (!name) return;
  const answer = await fetch(`/builds/${name}/latest`);
  if (!answer.ok || name !== shown) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const contents = page.getElementById("contents");
  if (contents && name === shown) layers.replaceChildren(contents);
}

async function names(word) {
  const answer = await fetch(`/api/v1/packages?${new URLSearchParams({ prefix: word })}`);
  if (!answer.ok) throw new Error(answer.statusText);
  return answer.json();
}

function remember() {
  const chosen = new URLSearchParams({ packages: packages.value });
  if (!shell.checked) chosen.set("shell", "no");
  if (platform.value) chosen.set("platform", platform.value);
  history.replaceState(null, "", `#${chosen}`);
}

function recall() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  if (chosen.has("packages")) packages.value = chosen.get("packages");
  shell.checked = chosen.get("shell") !== "no";
  const wanted = chosen.get("platform") ?? "";
  platform.value = [...platform.options].some((option) => option.value === wanted) ? wanted : "";
}

function changed() {
  remember();
  show();
}

form.addEventListener("input", changed);
new Completion(
  packages,
  document.getElementById("suggestions"),
  document.getElementById("hint"),
  names,
  changed,
);
form.elements.copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(command.textContent);
    say("copied");
  } catch {
    // There is no such clipboard for pages that came without TLS from other machines.
    getSelection().selectAllChildren(command);
    say(document.execCommand("copy") ? "copied" : "selected, for you to copy");
  }
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const path = `${compose().name}/latest`;
  say("asking for it …");
  try {
    const answer = await fetch(`/api/v1/builds/${path}`, { method: "POST" });
    if (answer.ok) {
      location.href = `/builds/${path}`;
    } else {
      say((await answer.json()).errors[0].message, true);
    }
  } catch {
    say("the server can't be reached at the moment", true);
  }
});
window.addEventListener("hashchange", () => {
  recall();
  show();
});

form.hidden = false;
recall();
show();

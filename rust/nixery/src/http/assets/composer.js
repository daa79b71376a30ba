// Composes the name of an image on the front page. What was chosen is in the address's
// fragment, so that it can be kept and passed on.

import { clients } from "./clients.js";
import { Completion } from "./completion.js";
import "./copy.js";

const form = document.getElementById("composer");
const command = document.getElementById("command");
const problem = document.getElementById("problem");
const said = document.getElementById("said");
const layers = document.getElementById("layers");
const { packages, shell, platform } = form.elements;
const host = form.dataset.host;

// One of them is chosen; the first, unless somebody chooses another.
const [usual] = Object.keys(clients);
document.getElementById("clients").append(...Object.entries(clients).map(([value, { name }]) => {
  const [label, choice] = [document.createElement("label"), document.createElement("input")];
  Object.assign(choice, { type: "radio", name: "client", value, checked: value === usual });
  label.append(choice, name);
  return label;
}));

// The components that a name may have (the book: reference, HTTP API).
const component = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

// The most bytes that a name may have.
const longest = 255;

const platforms = ["amd64", "arm64"];

// The parts of what somebody has typed, or pasted: a whole name too, with host and tag.
function parts(text) {
  const names = text.split("/").filter(Boolean);
  const [first, second] = names;
  const isHost = /:/.test(first) || first === "localhost" || first === host.replace(/:\d+$/, "")
    || (first.includes(".") && ["shell", ...platforms].includes(second));
  if (names.length > 1 && isHost) names.shift();
  if (names.length) names.push(names.pop().replace(/@.*|:[\w.-]*$/, ""));
  return names.filter(Boolean);
}

function compose() {
  const words = packages.value.toLowerCase().split(/[\s,]+/).filter((word) => /[^/]/.test(word));
  const typed = new Set(words.flatMap(parts));
  // Registries know these only at the front.
  const wanted = new Set([platform.value, ...platforms.filter((one) => typed.has(one))]);
  wanted.delete("");
  const hasShell = shell.checked || typed.has("shell");
  const names = [...typed].filter((word) => word !== "shell" && !platforms.includes(word));
  const name = [...wanted, ...(hasShell ? ["shell"] : []), ...names].join("/");
  return { name, hasShell, problem: wrong(names, wanted, name), isEmpty: !names.length && !hasShell };
}

// What is wrong with it; null for a name that is still being typed.
function wrong(names, wanted, name) {
  const bad = names.find((one) => !component.test(one));
  const isTyped = document.activeElement === packages && /[._-]$/.test(bad);
  if (bad) return isTyped ? null : `${bad} can't be a part of a name`;
  if (wanted.size > 1) return "an image is for one platform: amd64 or arm64";
  if (name.length > longest) return `the name has ${name.length} bytes: ${longest} are possible`;
  return "";
}

// Says what went wrong, or what is done.
function say(text, isBad = false) {
  said.textContent = text;
  said.classList.toggle("failed", isBad);
}

function show() {
  const { name, hasShell, problem: mistake, isEmpty } = compose();
  say("");
  problem.textContent = mistake || (isEmpty ? "Type the name of a package, or take a shell." : "");
  problem.classList.toggle("failed", Boolean(mistake));
  packages.setAttribute("aria-invalid", mistake ? "true" : "false");
  const isGood = mistake === "" && !isEmpty;
  const client = clients[form.elements.client.value];
  command.textContent = isGood ? client.text(`${host}/${name}`, hasShell) : "";
  form.elements.make.disabled = !isGood;
  form.elements.copy.disabled = !isGood;
  clearTimeout(looking);
  looking = setTimeout(showLayers, 400, isGood ? name : "");
}

// How often it is looked whether the image has been made meanwhile, in milliseconds.
const LOOK = 5000;

let looking = 0;
let wanted = "";
let shown = "";

// What the image consists of, if it has been made: as its own page shows it.
async function showLayers(name) {
  wanted = name;
  if (name === shown) return;
  shown = "";
  layers.replaceChildren();
  if (!name) return;
  try {
    const answer = await fetch(`/builds/${name}/latest`);
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const contents = page.getElementById("contents");
    if (!contents || name !== wanted) return;
    layers.replaceChildren(contents);
    shown = name;
  } catch {
    // The server can't be reached. It is looked again.
  }
}

function lookAgain() {
  if (wanted && !shown && !document.hidden) showLayers(wanted);
}

async function names(word) {
  // Nothing has such a name, and the server says so with an error.
  if (word.length > longest) return { state: "ready", packages: [], more: false };
  const answer = await fetch(`/api/v1/packages?${new URLSearchParams({ prefix: word })}`);
  if (!answer.ok) throw new Error(answer.statusText);
  return answer.json();
}

function remember() {
  const chosen = new URLSearchParams({ packages: packages.value });
  if (!shell.checked) chosen.set("shell", "no");
  if (platform.value) chosen.set("platform", platform.value);
  if (form.elements.client.value !== usual) chosen.set("client", form.elements.client.value);
  try {
    history.replaceState(null, "", `#${chosen}`);
  } catch {
    // Some browsers allow that a hundred times in half a minute only.
  }
}

function recall() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  if (chosen.has("packages")) packages.value = chosen.get("packages");
  shell.checked = chosen.get("shell") !== "no";
  const wanted = chosen.get("platform") ?? "";
  platform.value = [...platform.options].some((option) => option.value === wanted) ? wanted : "";
  const client = chosen.get("client") ?? "";
  form.elements.client.value = Object.hasOwn(clients, client) ? client : usual;
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
// What was still being typed is wrong now, or isn't.
packages.addEventListener("blur", show);
document.addEventListener("visibilitychange", lookAgain);
window.addEventListener("focus", lookAgain);
setInterval(lookAgain, LOOK);
// The picture of layers leads to their rows; what is composed is in the fragment here.
layers.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (!link) return;
  event.preventDefault();
  const row = document.getElementById(link.getAttribute("href").slice(1));
  layers.querySelector(".target")?.classList.remove("target");
  row.classList.add("target");
  row.scrollIntoView({ block: "nearest" });
});
window.addEventListener("hashchange", () => {
  recall();
  show();
});

form.hidden = false;
document.getElementById("usage").hidden = true;
recall();
show();

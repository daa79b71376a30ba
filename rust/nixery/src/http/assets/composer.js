// Composes the name of an image on the front page. What was chosen is in the address's
// fragment, so that it can be kept and passed on.

import { clients } from "./clients.js";
import { Completion } from "./completion.js";
import "./copy.js";
import { ask, check, faultOf, keep, names } from "./names.js";
import { parse, platforms, shellName } from "./pasted.js";

const form = document.getElementById("composer");
const command = document.getElementById("command");
const problem = document.getElementById("problem");
const said = document.getElementById("said");
const layers = document.getElementById("layers");
const { packages, shell, platform } = form.elements;
const host = form.dataset.host;

// Whether tags choose something of where packages come from.
const hasTags = form.dataset.tags === "yes";

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

// Packages that images run, as they run that of `shell`.
const shells = ["bash", "bashinteractive"];

// The most bytes that a name may have.
const longest = 255;

// What the server has said instead of making an image.
const refused = new Map();

function compose() {
  const { words, tags, digest, isReference } = parse(packages.value, host);
  const typed = new Set(words);
  // Registries know these only at the front.
  const wanted = new Set([platform.value, ...platforms.filter((one) => typed.has(one))]);
  wanted.delete("");
  const hasShell = typed.has(shellName) || (shell.checked && !isReference);
  const names = [...typed].filter((word) => word !== shellName && !platforms.includes(word));
  const name = [...wanted, ...(hasShell ? [shellName] : []), ...names].join("/");
  const others = [...tags].filter((tag) => tag !== "latest");
  const tag = hasTags && tags.size ? [...tags][0] : "latest";
  return {
    name, names, wanted, hasShell, tag, isReference, digest, tags,
    problem: wrong(names, wanted, name, tag, hasTags ? tags : new Set()),
    note: left(hasTags ? [] : others, digest),
    isEmpty: !names.length && !hasShell,
  };
}

// What is wrong with it; null for a name that is still being typed.
function wrong(names, wanted, name, tag, tags) {
  const bad = names.find((one) => !component.test(one));
  const isTyped = document.activeElement === packages && /[._-]$|[:@][\w:.-]*$/.test(bad);
  if (bad) return isTyped ? null : `${bad} can't be a part of a name`;
  if (wanted.size > 1) return "an image is for one platform: amd64 or arm64";
  if (tags.size > 1) return `an image has one tag: ${[...tags].join(" or ")}`;
  if (name.length > longest) return `the name has ${name.length} bytes: ${longest} are possible`;
  const fault = names.filter((one) => one !== typing()).map((one) => faultOf(one, tag)).find(Boolean);
  // The server's own words say more.
  return (fault && refused.get(`${name}/${tag}`)) ?? fault ?? "";
}

// The word that is still being typed, of which it isn't known yet what it will be.
function typing() {
  return document.activeElement === packages ? completion.word().whole : "";
}

// What was typed and is not in the command.
function left(tags, digest) {
  if (tags.length) return `left out: the tag ${tags.join(", ")}, since packages come from one place here, without tags`;
  if (digest) return `left out: the digest ${digest.slice(0, 19)}…, since an image is made of its packages' names`;
  return "";
}

// Says what went wrong, or what is done.
function say(text, isBad = false) {
  said.textContent = text;
  said.classList.toggle("failed", isBad);
}

function show() {
  const { name, names, hasShell, tag, problem: mistake, note, isEmpty } = compose();
  say("");
  problem.textContent = mistake || note || (isEmpty ? "Type the name of a package, or take a shell." : "");
  problem.classList.toggle("failed", Boolean(mistake));
  packages.setAttribute("aria-invalid", mistake ? "true" : "false");
  const isGood = mistake === "" && !isEmpty;
  const client = clients[form.elements.client.value];
  const image = `${host}/${name}${tag === "latest" ? "" : `:${tag}`}`;
  const runs = hasShell || shells.some((one) => names.includes(one));
  command.textContent = isGood ? client.text(image, runs) : "";
  form.elements.make.disabled = !isGood;
  form.elements.copy.disabled = !isGood;
  clearTimeout(looking);
  looking = setTimeout(() => {
    showLayers(isGood ? `${name}/${tag}` : "");
    checkAll();
  }, 400);
}

// How often it is looked whether the image has been made meanwhile, in milliseconds.
const LOOK = 5000;

let looking = 0;
let wanted = "";
let shown = "";

// What the image consists of, if it has been made: as its own page shows it.
async function showLayers(image) {
  wanted = image;
  if (image === shown) return;
  shown = "";
  layers.replaceChildren();
  if (!image) return;
  try {
    const answer = await ask(`/builds/${image}`, "to see what images consist of");
    // Nobody is let in by waiting.
    if ([401, 403].includes(answer.status) && image === wanted) wanted = "";
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const contents = page.getElementById("contents");
    if (!contents || image !== wanted) return;
    layers.replaceChildren(contents);
    shown = image;
  } catch {
    // The server can't be reached. It is looked again.
  }
}

function lookAgain() {
  if (wanted && !shown && !document.hidden) showLayers(wanted);
}

// Names that begin with a word, also those that stand for something else than a package.
async function choices(word) {
  const found = await names(word, compose().tag, 20);
  const special = [shellName, ...platforms].filter((one) => one.startsWith(word));
  return { ...found, packages: [...special, ...found.packages] };
}

// Finds out whether there are such packages, but for what is still being typed.
function checkAll() {
  const { names, tag, problem } = compose();
  if (problem === "") check(names.filter((one) => one !== typing()), tag, show, checkAll);
}

function remember() {
  const chosen = new URLSearchParams({ packages: packages.value });
  if (!shell.checked) chosen.set("shell", "no");
  if (platform.value) chosen.set("platform", platform.value);
  if (form.elements.client.value !== usual) chosen.set("client", form.elements.client.value);
  try {
    if (location.hash !== `#${chosen}`) history.replaceState(null, "", `#${chosen}`);
  } catch {
    // Some browsers allow that a hundred times in half a minute only.
  }
  keep(location.hash);
}

function recall() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  if (chosen.has("packages")) packages.value = chosen.get("packages");
  shell.checked = chosen.get("shell") !== "no";
  const wanted = chosen.get("platform") ?? "";
  platform.value = [...platform.options].some((option) => option.value === wanted) ? wanted : "";
  const client = chosen.get("client") ?? "";
  form.elements.client.value = Object.hasOwn(clients, client) ? client : usual;
  settle();
}

// Once all of it is there, the whole name of an image is taken apart into the fields.
function settle() {
  const { names, wanted, hasShell, tags, digest, isReference } = compose();
  if (!isReference || wanted.size > 1) return;
  const ending = [...tags].filter((tag) => tag !== "latest").map((tag) => `:${tag}`).join(" ");
  packages.value = names.join(" ") + ending + (digest && `@${digest}`);
  shell.checked = hasShell;
  platform.value = [...wanted][0] ?? "";
  remember();
}

function changed(event) {
  if (/^insertFrom(Paste|Drop)/.test(event?.inputType)) settle();
  remember();
  show();
}

form.addEventListener("input", changed);
// Enter chooses a name or does nothing: what it does must not depend on when the list
// came. An image is made by its button.
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("input, select")) event.preventDefault();
});
const completion = new Completion(
  packages,
  document.getElementById("suggestions"),
  document.getElementById("hint"),
  choices,
  changed,
);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { name, tag } = compose();
  const path = `${name}/${tag}`;
  say("asking for it …");
  try {
    const answer = await ask(`/api/v1/builds/${path}`, "to have images made", { method: "POST" });
    if (answer.ok) {
      location.href = `/builds/${path}`;
    } else {
      const { message } = (await answer.json()).errors[0];
      refused.set(path, message);
      say(message, true);
    }
  } catch {
    say("the server can't be reached at the moment", true);
  }
});
// What was still being typed is wrong now, or isn't.
packages.addEventListener("blur", () => {
  settle();
  show();
});
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

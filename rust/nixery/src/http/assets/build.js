// Follows a build on its page: its state, and Nix's log.

import { duration } from "./times.js";

const state = document.getElementById("state");
const words = state.querySelector("strong");
const seconds = document.getElementById("seconds");
const steps = [...document.querySelectorAll("#steps li")];
const stored = document.getElementById("stored");
const log = document.getElementById("log");

const inWords = {
  looking: () => "looking up what is known of its packages",
  waiting: () => "waiting for other builds",
  nix: () => "Nix is fetching or building",
  packing: (build) => `packing: ${build.layers_stored} of ${build.layers} layers are stored`,
};

// The page is of a moment before; everything is told again from the first line.
if (log) log.textContent = "";
const events = new EventSource(location.pathname.replace(/^\/builds\//, "/api/v1/builds/"));

// The most lines of the log that are kept, so that one of many days doesn't fill the memory.
const MOST = 5000;

// Which build is shown: it may be another one once the connection was lost, which is told
// from its first line on.
let shown = "";

function isOf(event) {
  const [build] = event.lastEventId.split("-");
  if (log && shown && build !== shown) log.textContent = "";
  shown = build;
}

let begun = performance.now();
const clock = setInterval(() => {
  const text = duration((performance.now() - begun) / 1000);
  if (seconds.textContent !== text) seconds.textContent = text;
}, 100);

// Marks the step that is in progress, and those before it.
function mark(build) {
  const here = steps.findIndex((step) => step.dataset.state === build.state);
  if (here < 0) return;
  steps.forEach((step, index) => {
    step.className = index < here ? "done" : index === here ? "current" : "";
    if (index === here) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  });
  stored.hidden = build.state !== "packing";
  Object.assign(stored, { max: build.layers || 1, value: build.layers_stored });
}

events.addEventListener("state", (event) => {
  isOf(event);
  const build = JSON.parse(event.data);
  begun = performance.now() - build.seconds * 1000;
  mark(build);
  const text = inWords[build.state];
  // Told to screen readers when it changes only.
  if (text && words.textContent !== text(build)) words.textContent = text(build);
});
events.addEventListener("log", (event) => {
  isOf(event);
  if (!log) return;
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  log.append(...JSON.parse(event.data).map((line) => line + "\n"));
  while (log.childNodes.length > MOST) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
});
events.addEventListener("error", () => {
  // The browser tries again, and is told the rest, but for an answer that is an error:
  // the server may have been started anew.
  if (events.readyState === EventSource.CLOSED) {
    clearInterval(clock);
    words.textContent = "the server tells no more of this build";
  } else {
    words.textContent = "the server can't be reached at the moment";
  }
});
events.addEventListener("end", () => {
  events.close();
  clearInterval(clock);
  location.reload();
});

// What the server knows of the names of packages, and how it is asked.

const login = document.getElementById("login");

// As a script, so that nobody is asked for a password who only looks at the page; where
// one is needed, it is said how to log in, and what for.
export async function ask(path, purpose, options = {}) {
  const answer = await fetch(path, { ...options, headers: { "X-Requested-With": "fetch" } });
  if (answer.status === 401) {
    login.hidden = false;
    login.querySelector("span").textContent = purpose;
  }
  return answer;
}

// What was chosen is kept over logging in.
export function keep(fragment) {
  login.querySelector("a").hash = fragment;
}

// Names that begin with a word, or have it in them: { state, packages, more }.
export async function names(word, tag, limit) {
  const query = new URLSearchParams({ prefix: word, tag, limit });
  const answer = await ask(`/api/v1/packages?${query}`, "to see the names of packages");
  if (!answer.ok) throw new Error((await answer.json()).errors[0].message, { cause: answer.status });
  return answer.json();
}

// What is wrong with names, with each tag; nothing, with those that were found good.
const faults = new Map();

export function faultOf(name, tag) {
  return faults.get(`${name}:${tag}`) ?? "";
}

// How long until Nix is asked again that is still looking, in milliseconds.
const AGAIN = 1000;

let later = 0;

// Finds out whether there are packages of these names. `found()` is called when one has a
// fault, and `again()` later if it can't be told yet.
export async function check(all, tag, found, again) {
  for (const name of all) {
    const key = `${name}:${tag}`;
    if (faults.has(key) || asked.has(key)) continue;
    asked.add(key);
    // One after the other: servers may limit how much somebody asks at a time.
    await checkOne(name, tag, found, again);
    asked.delete(key);
  }
}

// Those that are being asked about.
const asked = new Set();

async function checkOne(name, tag, found, again) {
  let fault = "";
  try {
    const { state, packages: [first] } = await names(name, tag, 1);
    if (state === "indexing") {
      clearTimeout(later);
      later = setTimeout(again, AGAIN);
    }
    if (state !== "ready") return;
    if (first === `${name}.`) fault = `${name} is a set of packages: type ${name}. to see them`;
    else if (first !== name) fault = `there is no package ${name} here`;
  } catch (error) {
    // There is no such tag. Otherwise, nothing is known.
    if (error.cause !== 404) return;
    fault = error.message;
  }
  faults.set(`${name}:${tag}`, fault);
  if (fault) found();
}

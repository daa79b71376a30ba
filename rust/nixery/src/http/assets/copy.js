// Buttons that copy what is in another element: `data-copies` is its id.

// For how long a button says what came of it, in milliseconds.
const SAID = 2000;

for (const button of document.querySelectorAll("[data-copies]")) {
  const source = document.getElementById(button.dataset.copies);
  const [name, told] = [button.textContent, document.createElement("span")];
  let timer = 0;
  // For screen readers, which say nothing of a button's new name.
  told.className = "unseen";
  told.role = "status";
  button.after(told);
  button.addEventListener("click", async () => {
    const done = await copy(source);
    button.textContent = done ? "Copied" : "Selected";
    told.textContent = done ? "copied" : "selected, for you to copy";
    clearTimeout(timer);
    timer = setTimeout(() => {
      button.textContent = name;
      told.textContent = "";
    }, SAID);
  });
  button.hidden = false;
}

// Whether it was copied; else it is selected.
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    // There is no such clipboard for pages that came without TLS from other machines.
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}

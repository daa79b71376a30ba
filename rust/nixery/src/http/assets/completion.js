// Completes the last word of a text field from a list below it: a combobox with a listbox,
// as the ARIA Authoring Practices describe them.

// How long nothing is typed before names are asked for, in milliseconds.
const PAUSE = 150;

// How long until it is asked again while the server still looks for the names.
const AGAIN = 1000;

export class Completion {
  // `look(word)` promises { state, packages, more }; `taken()` is called after a choice.
  constructor(input, list, hint, look, taken) {
    Object.assign(this, { input, list, hint, look, taken, active: -1, timer: 0, asked: 0 });
    input.addEventListener("input", () => this.wait(PAUSE));
    input.addEventListener("keydown", (event) => this.key(event));
    input.addEventListener("blur", () => this.close());
    // The field keeps the focus.
    list.addEventListener("pointerdown", (event) => event.preventDefault());
    list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.take(option);
    });
  }

  // The word that the caret is in or after: where it begins and ends, and its text.
  word() {
    const { value, selectionStart: caret } = this.input;
    const begin = value.slice(0, caret).search(/[^\s,/]*$/);
    const rest = value.slice(caret).search(/[\s,/]|$/);
    return { begin, end: caret + rest, text: value.slice(begin, caret).toLowerCase() };
  }

  wait(time) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), time);
  }

  async ask() {
    const { text } = this.word();
    const number = ++this.asked;
    if (!text) return this.close();
    let found;
    try {
      found = await this.look(text);
    } catch {
      return this.close();
    }
    // Somebody has typed on meanwhile, or gone elsewhere.
    if (number !== this.asked || document.activeElement !== this.input) return;
    this.show(found, text);
    if (found.state === "indexing") this.wait(AGAIN);
  }

  show({ state, packages, more }, text) {
    const options = packages.map((name, index) => {
      const option = document.createElement("li");
      Object.assign(option, { id: `suggestion-${index}`, role: "option", textContent: name });
      option.setAttribute("aria-selected", "false");
      return option;
    });
    this.list.replaceChildren(...options);
    this.active = -1;
    const isOpen = options.length > 0 && !(packages.length === 1 && packages[0] === text);
    this.list.hidden = !isOpen;
    this.input.setAttribute("aria-expanded", String(isOpen));
    this.input.removeAttribute("aria-activedescendant");
    if (state === "indexing") this.hint.textContent = "The names of packages are being listed …";
    else if (state === "unavailable") this.hint.textContent = "";
    else if (!options.length) this.hint.textContent = `No package has ${text} in its name.`;
    else if (isOpen) this.hint.textContent = `${options.length}${more ? " and more" : ""} names`;
    else this.hint.textContent = "";
  }

  close() {
    clearTimeout(this.timer);
    this.asked++;
    this.list.hidden = true;
    this.active = -1;
    this.hint.textContent = "";
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  key(event) {
    const options = [...this.list.children];
    const isOpen = !this.list.hidden;
    if (event.key === "Escape" && isOpen) {
      event.preventDefault();
      this.close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!isOpen) return this.ask();
      const step = event.key === "ArrowDown" ? 1 : -1;
      const from = this.active < 0 && step < 0 ? 0 : this.active;
      this.mark(options, (from + step + options.length) % options.length);
    } else if (event.key === "Enter" && isOpen && this.active >= 0) {
      event.preventDefault();
      this.take(options[this.active]);
    }
  }

  mark(options, index) {
    options[this.active]?.setAttribute("aria-selected", "false");
    this.active = index;
    options[index].setAttribute("aria-selected", "true");
    options[index].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", options[index].id);
  }

  take(option) {
    const { value } = this.input;
    const { begin, end } = this.word();
    const name = `${option.textContent} `;
    this.input.value = value.slice(0, begin) + name + value.slice(end).trimStart();
    this.input.setSelectionRange(begin + name.length, begin + name.length);
    this.close();
    this.taken();
  }
}

// Completes the last word of a text field from a list below it: a combobox with a listbox,
// as the ARIA Authoring Practices describe them.

// How long nothing is typed before names are asked for, in milliseconds.
const PAUSE = 150;

// What may be the beginning of a name.
const beginning = /^[a-z0-9._-]{1,255}$/;

// How long until it is asked again while the server still looks for the names.
const AGAIN = 1000;

export class Completion {
  // `look(word)` promises { state, packages, more }, where a dot is at the end of sets;
  // `taken()` is called after a choice.
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

  // The word that the caret is in or after: where it begins and ends, all of it, and its
  // text before the caret.
  word() {
    const { value, selectionStart: caret } = this.input;
    const begin = value.slice(0, caret).search(/[^\s,/]*$/);
    // A tag stays.
    const end = caret + value.slice(caret).search(/[\s,/:@]|$/);
    const whole = value.slice(begin, end).toLowerCase();
    return { begin, end, whole, text: value.slice(begin, caret).toLowerCase() };
  }

  wait(time) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), time);
  }

  async ask() {
    const { text } = this.word();
    const number = ++this.asked;
    if (!beginning.test(text)) return this.close();
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

  get isOpen() {
    return !this.list.hidden;
  }

  show({ state, packages, more }, text) {
    // While names are looked for, the list comes again and again: what is chosen stays.
    const chosen = this.list.children[this.active]?.textContent;
    const before = [...this.list.children].map((option) => option.textContent);
    if (before.join(" ") !== packages.join(" ")) {
      this.list.replaceChildren(...packages.map((name, index) => {
        const option = document.createElement("li");
        Object.assign(option, { id: `suggestion-${index}`, role: "option", textContent: name });
        option.setAttribute("aria-selected", "false");
        return option;
      }));
      this.active = -1;
      // It may have turned out to be a set.
      this.mark(chosen ? packages.findIndex((name) => name === chosen || name === `${chosen}.`) : -1);
    }
    const isOpen = packages.length > 0 && !(packages.length === 1 && packages[0] === text);
    this.list.hidden = !isOpen;
    this.input.setAttribute("aria-expanded", String(isOpen));
    const number = `${packages.length}${more ? " and more" : ""}`;
    if (state === "indexing" && !packages.length) this.hint.textContent = "The names of packages are being listed …";
    else if (state === "unavailable") this.hint.textContent = "";
    else if (!packages.length) this.hint.textContent = `No package has ${text} in its name.`;
    else if (isOpen) this.hint.textContent = number === "1" ? "1 name" : `${number} names`;
    else this.hint.textContent = "";
  }

  close() {
    clearTimeout(this.timer);
    this.asked++;
    this.mark(-1);
    this.list.hidden = true;
    this.hint.textContent = "";
    this.input.setAttribute("aria-expanded", "false");
  }

  key(event) {
    const options = this.list.children;
    if (event.key === "Escape" && this.isOpen) {
      event.preventDefault();
      this.close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!this.isOpen) return this.ask();
      const step = event.key === "ArrowDown" ? 1 : -1;
      const from = this.active < 0 && step < 0 ? 0 : this.active;
      this.mark((from + step + options.length) % options.length);
    } else if (event.key === "Enter" && this.isOpen) {
      // Whoever is among the names doesn't want an image made yet.
      event.preventDefault();
      if (this.active >= 0) this.take(options[this.active]);
      else this.close();
    }
  }

  // Chooses one of the options; none of them with -1.
  mark(index) {
    const options = this.list.children;
    options[this.active]?.setAttribute("aria-selected", "false");
    this.active = index;
    if (index < 0) return this.input.removeAttribute("aria-activedescendant");
    options[index].setAttribute("aria-selected", "true");
    options[index].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", options[index].id);
  }

  take(option) {
    const { value } = this.input;
    const { begin, end } = this.word();
    const isSet = option.textContent.endsWith(".");
    const name = option.textContent + (isSet ? "" : " ");
    const rest = value.slice(end);
    this.input.value = value.slice(0, begin) + name + (isSet ? rest : rest.replace(/^[\s,/]+/, ""));
    this.input.setSelectionRange(begin + name.length, begin + name.length);
    this.close();
    this.taken();
    // What is in a set is chosen next.
    if (isSet) this.ask();
  }
}

/** A field that finds one of many labels: the ARIA combobox with a list. */

const MOST_SHOWN = 50;

/**
 * Returns the labels that fit a text, best first: those that begin with it, then those with such a word, then others.
 * @param {string[]} labels
 * @param {string} text
 * @returns {number[]} Their indices.
 */
export function matches(labels, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const rank = (label) => {
    const at = label.indexOf(wanted);
    return at === 0 ? 0 : label.includes(` ${wanted}`) ? 1 : at > 0 ? 2 : 3;
  };
  const ranked = labels.map((label, index) => ({ index, label, rank: rank(label.toLowerCase()) }));
  const fitting = ranked.filter((each) => each.rank < 3);
  fitting.sort((a, b) => a.rank - b.rank || a.label.length - b.label.length || a.index - b.index);
  return fitting.slice(0, MOST_SHOWN).map(({ index }) => index);
}

export class Combobox {
  #input;
  #list;
  #labels;
  #onChoose;
  #active = -1;

  /**
   * @param {HTMLInputElement} input
   * @param {HTMLElement} list
   * @param {() => Promise<string[]>} labels
   * @param {(index: number, label: string) => void} onChoose
   */
  constructor(input, list, labels, onChoose) {
    this.#input = input;
    this.#list = list;
    this.#labels = labels;
    this.#onChoose = onChoose;
    input.addEventListener("input", () => this.#search());
    input.addEventListener("keydown", (event) => this.#key(event));
    input.addEventListener("blur", () => this.close());
    // The field keeps the focus, so that the list is not closed before it is clicked.
    list.addEventListener("pointerdown", (event) => event.preventDefault());
    list.addEventListener("click", ({ target }) => this.#choose([...list.children].indexOf(target.closest("li"))));
  }

  /** Hides the list. */
  close() {
    this.#show([]);
  }

  async #search() {
    const labels = await this.#labels();
    if (document.activeElement !== this.#input) return; // It was left while the labels were fetched.
    const found = matches(labels, this.#input.value);
    this.#show(found.map((index) => ({ index, label: labels[index] })));
  }

  #show(options) {
    this.#list.hidden = !options.length;
    this.#input.setAttribute("aria-expanded", String(options.length > 0));
    this.#list.replaceChildren(
      ...options.map(({ index, label }, position) => {
        const item = Object.assign(document.createElement("li"), { textContent: label, id: `label-${position}` });
        item.setAttribute("role", "option");
        item.dataset.index = index;
        return item;
      }),
    );
    this.#activate(options.length ? 0 : -1);
  }

  #activate(position) {
    this.#active = position;
    [...this.#list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === position)));
    const item = this.#list.children[position];
    item?.scrollIntoView({ block: "nearest" });
    if (item) this.#input.setAttribute("aria-activedescendant", item.id);
    else this.#input.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const count = this.#list.childElementCount;
    if (event.key === "Enter") this.#choose(this.#active);
    else if (event.key === "ArrowDown" && count) this.#activate((this.#active + 1) % count);
    else if (event.key === "ArrowUp" && count) this.#activate((this.#active - 1 + count) % count);
    else if (event.key === "Escape" && count) this.close();
    else if (event.key === "Escape") this.#input.blur();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #choose(position) {
    const item = this.#list.children[position];
    if (!item) return;
    this.#onChoose(Number(item.dataset.index), item.textContent);
    this.#input.value = "";
    this.close();
  }
}

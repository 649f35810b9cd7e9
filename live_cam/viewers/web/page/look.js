/** How pictures look on this page: the command line's choice, and what this viewer changed. */

const STORED = "livecam-look";
const THEME = "livecam-theme";
const LETTER_KEYS = "livecam-letter-keys";

export const DETAILS = ["few", "all", "none"];

export class Look {
  #defaults = { colormap: "inferno", opacity: 0.6, blend: "heat", view: "overlay", mirror: false, detail: "few" };
  #changes = JSON.parse(sessionStorage.getItem(STORED) ?? "{}");
  #onChange;

  /** @param {() => void} onChange Called after every change. */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** The look as it is now. */
  get current() {
    return { ...this.#defaults, ...this.#changes };
  }

  /** Takes the command line's look, which holds where this viewer changed nothing. */
  useDefaults(look) {
    const before = JSON.stringify(this.current);
    Object.assign(this.#defaults, look);
    if (JSON.stringify(this.current) !== before) this.#onChange();
  }

  /** Changes the look on this page. */
  change(changes) {
    Object.assign(this.#changes, changes);
    sessionStorage.setItem(STORED, JSON.stringify(this.#changes));
    this.#onChange();
  }
}

/** Applies the stored choice of dark or light; without one the system's holds. */
export function applyTheme() {
  document.documentElement.dataset.theme = localStorage.getItem(THEME) ?? "system";
}

/** Changes from dark to light or back. @returns {string} The new theme. */
export function toggleTheme() {
  const theme = document.documentElement.dataset.theme;
  const isLight = theme === "system" ? matchMedia("(prefers-color-scheme: light)").matches : theme === "light";
  localStorage.setItem(THEME, isLight ? "dark" : "light");
  applyTheme();
  return isLight ? "dark" : "light";
}

/** Returns whether letters and signs are keys: whoever speaks to a computer may not want that (WCAG 2.1.4). */
export function hasLetterKeys() {
  return localStorage.getItem(LETTER_KEYS) !== "off";
}

/** Stores whether letters and signs are keys. @param {boolean} isOn */
export function useLetterKeys(isOn) {
  localStorage.setItem(LETTER_KEYS, isOn ? "on" : "off");
}

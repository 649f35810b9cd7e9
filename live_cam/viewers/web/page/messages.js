/** What the page tells its viewer: notices, the key table, and what takes the place of the pictures. */

import { hasLetterKeys, useLetterKeys } from "./look.js";
import { setText } from "./texts.js";

const NOTICE_MS = 2500;

const byId = (id) => document.getElementById(id);

export class Messages {
  #timer = 0;

  /** @param {Record<string, [string, string, object][]>} keyGroups Rows of the key table by heading. */
  constructor(keyGroups) {
    byId("notice-close").addEventListener("click", () => this.hide());
    for (const id of ["help-button", "help-close"]) byId(id).addEventListener("click", () => this.toggleHelp());
    byId("letter-keys").checked = hasLetterKeys();
    byId("letter-keys").addEventListener("change", ({ target }) => useLetterKeys(target.checked));
    byId("help-groups").append(...Object.entries(keyGroups).map(([heading, rows]) => keyTable(heading, rows)));
  }

  /** Shows a notice for a moment; one that says what to do stays. */
  say(text, stays = false) {
    clearTimeout(this.#timer);
    setText(byId("notice-text"), text);
    byId("notice").dataset.kind = stays ? "problem" : "note";
    byId("notice-close").hidden = !stays;
    if (!stays) this.#timer = setTimeout(() => this.hide(), NOTICE_MS);
  }

  /** Whether a notice is shown that stays. */
  get hasProblem() {
    return byId("notice").dataset.kind === "problem";
  }

  /** Hides the notice. */
  hide() {
    byId("notice").dataset.kind = "";
    byId("notice-close").hidden = true;
    setText(byId("notice-text"), "");
  }

  /** Tells screen readers what is seen elsewhere. */
  announce(text) {
    setText(byId("announcement"), text);
  }

  /**
   * Shows a message in place of the pictures; hides it if the title is empty and it is of that kind.
   * @param {string} title
   * @param {string} text
   * @param {string} kind
   */
  showGate(title, text, kind) {
    const gate = byId("gate");
    if (!title && gate.dataset.kind !== kind) return;
    gate.dataset.kind = title ? kind : "";
    gate.hidden = !title;
    byId("stage").hidden = Boolean(title);
    setText(byId("gate-title"), title);
    setText(byId("gate-text"), text);
  }

  /** Shows or hides the key table. */
  toggleHelp() {
    const help = byId("help");
    if (help.open) help.close();
    else help.showModal();
  }
}

function keyTable(heading, rows) {
  const table = document.createElement("table");
  table.createCaption().textContent = heading;
  for (const [keys, text] of rows) {
    const row = table.insertRow();
    const names = Object.assign(document.createElement("th"), { scope: "row" });
    for (const key of keys.split(" ")) names.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    row.append(names);
    row.insertCell().textContent = text;
  }
  return table;
}

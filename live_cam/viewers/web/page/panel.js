/** The controls beside the pictures. */

import { request } from "./api.js";
import { DEVICE } from "./camera.js";
import { drawLegend } from "./colormaps.js";
import { Combobox } from "./combobox.js";
import * as commands from "./commands.js";
import { DETAILS } from "./look.js";
import { durationText, notesOf, scoreText, setText } from "./texts.js";
import { Timeline } from "./timeline.js";
import { VIEWS } from "./views.js";

const byId = (id) => document.getElementById(id);

export class Panel {
  #app;
  #timeline = new Timeline(byId("timeline"), byId("timeline-values"));
  #labels = null;
  #preparingSince = 0;

  /** @param {import("./main.js").App} app */
  constructor(app) {
    this.#app = app;
    const tile = () => app.currentTile;
    const change = (name) => (value) => app.look.change({ [name]: value });
    makeSegments("view", VIEWS, change("view"));
    makeSegments("detail", DETAILS, change("detail"));
    onChoice("contrast", (value) => commands.chooseContrast(app, tile(), value));
    byId("colormap").addEventListener("change", ({ target }) => change("colormap")(target.value));
    byId("opacity").addEventListener("input", ({ target }) => change("opacity")(Number(target.value)));
    for (const what of ["method", "layer"]) {
      byId(what).addEventListener("change", ({ target }) => commands.changeExplainer(app, what, target.value));
    }
    const buttons = {
      lock: () => commands.toggleLock(app, tile()),
      smooth: () => commands.toggleSmoothing(app, tile()),
      freeze: () => commands.toggleFreeze(app, tile()),
      snapshot: () => commands.snapshot(app, tile()),
      "full-screen": () => commands.toggleFullScreen(app),
      "camera-turn": () => app.startCamera((camera) => camera.turn()),
      "camera-mirror": () => app.mirrorCamera(),
      "camera-stop": () => app.stopCamera(),
    };
    for (const [id, action] of Object.entries(buttons)) byId(id).addEventListener("click", action);
    byId("camera-select").addEventListener("change", ({ target }) => app.startCamera((camera) => camera.start(target.value)));
    byId("classes").addEventListener("click", ({ target }) => this.#chooseRow(target.closest("button")));
    new Combobox(
      byId("label-search"),
      byId("label-list"),
      () => this.#fetchLabels(),
      (class_index, label) => commands.chooseClass(app, tile(), { class_index, label }),
    );
  }

  /** Fetches the labels when they are first searched; they may change with another server. */
  async #fetchLabels() {
    await this.#app.trying(async () => (this.#labels ??= await request("/api/labels")));
    return this.#labels ?? [];
  }

  /** Forgets what may be another with another server. */
  forget() {
    this.#labels = null;
  }

  #chooseRow(button) {
    if (!button) return;
    const chosen = { class_index: Number(button.dataset.index), label: button.dataset.label };
    commands.chooseClass(this.#app, this.#app.currentTile, chosen);
  }

  /** Shows the page's look. */
  refreshLook() {
    const look = this.#app.look.current;
    check("view", look.view);
    check("detail", look.detail);
    byId("colormap").value = look.colormap;
    byId("opacity").value = look.opacity;
    setText(byId("opacity-value"), `${Math.round(100 * look.opacity)} %`);
    drawLegend(byId("legend"), look);
  }

  /** Shows what the server says of its explainer. */
  refreshStatus() {
    const { status } = this.#app;
    fill(byId("colormap"), status.colormaps.map((name) => [name, name]));
    fill(byId("method"), status.methods.map(({ name, title }) => [name, title]));
    const layers = status.layers.includes(status.layer) ? status.layers : [...status.layers, status.layer];
    fill(byId("layer"), layers.filter(Boolean).map((name) => [name, name]));
    for (const what of ["method", "layer"]) {
      byId(what).value = status.preparing?.[what] ?? status[what];
      byId(what).disabled = Boolean(status.preparing) || !status.methods.length;
    }
    this.#preparingSince = performance.now() - 1000 * (status.preparing?.seconds ?? 0);
    this.refreshLook();
    this.refresh();
  }

  /** Shows the current tile. Called a few times a second. */
  refresh() {
    const { currentTile: tile, status, focusedTile } = this.#app;
    setText(byId("preparing"), this.preparingText || (status?.error ?? ""));
    for (const section of document.querySelectorAll(".for-source")) section.hidden = !focusedTile;
    byId("camera-section").hidden = focusedTile?.key !== DEVICE;
    byId("full-screen").setAttribute("aria-pressed", String(Boolean(document.fullscreenElement)));
    if (!focusedTile || !status) return;
    setText(byId("source-scope"), tile.key === DEVICE ? "only for you" : `for everyone watching ${tile.source.name}`);
    byId("camera-mirror").setAttribute("aria-pressed", String(Boolean(tile.isMirrored)));
    byId("freeze").setAttribute("aria-pressed", String(tile.isFrozen));
    setText(byId("freeze"), tile.isFrozen ? "Continue" : "Freeze");
    const { target, smooth_seconds: seconds } = tile.source.settings;
    byId("lock").setAttribute("aria-pressed", String(target !== null));
    byId("smooth").setAttribute("aria-pressed", String(seconds > 0));
    check("contrast", commands.contrastOf(tile));
    const contrasts = commands.contrastsOf(this.#app, tile);
    for (const input of document.querySelectorAll("input[name=contrast]")) {
      input.disabled = !contrasts.includes(input.value);
    }
    this.#refreshClasses(tile.picture?.explanation);
    this.#timeline.draw(tile.history);
  }

  /** What is being prepared, and for how long; empty if nothing is. */
  get preparingText() {
    const preparing = this.#app.status?.preparing;
    if (!preparing) return "";
    const seconds = (performance.now() - this.#preparingSince) / 1000;
    const what = preparing.method === this.#app.status.method ? preparing.layer : preparing.method;
    return `preparing ${what} · ${durationText(seconds)}`;
  }

  #refreshClasses(explanation) {
    const list = byId("classes");
    const explained = explanation?.explained;
    const rows = [...(explanation?.predictions ?? [])];
    if (explained && rows.every((row) => row.class_index !== explained.class_index)) rows.push(explained);
    while (list.childElementCount > rows.length) list.lastElementChild.remove();
    while (list.childElementCount < rows.length) list.append(classRow());
    rows.forEach((row, index) => {
      const button = list.children[index].firstElementChild;
      const [label, score, bar] = button.children;
      setText(label, row.label);
      setText(score, scoreText(row));
      bar.style.setProperty("--share", row.probability ?? 0);
      button.dataset.index = row.class_index;
      button.dataset.label = row.label;
      button.setAttribute("aria-pressed", String(row.class_index === explained.class_index));
    });
    setText(byId("class-note"), explanation ? notesOf(explanation).join(" · ") : "");
  }

  /** Lists the cameras of this device. */
  async refreshCameras(deviceId) {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const cameras = devices.filter(({ kind }) => kind === "videoinput");
    fill(byId("camera-select"), cameras.map(({ deviceId: id, label }, index) => [id, label || `Camera ${index + 1}`]));
    byId("camera-select").value = deviceId;
    byId("camera-choice").hidden = cameras.length < 2;
    byId("camera-turn").hidden = cameras.length < 2;
  }
}

function classRow() {
  const row = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { className: "class-row" });
  for (const name of ["label", "score", "bar"]) {
    button.append(Object.assign(document.createElement("span"), { className: name }));
  }
  row.append(button);
  return row;
}

/** Puts radio buttons into a fieldset. */
function makeSegments(id, values, onChoose) {
  for (const value of values) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: id, value });
    label.append(input, Object.assign(document.createElement("span"), { textContent: value }));
    byId(id).append(label);
  }
  onChoice(id, onChoose);
}

function onChoice(id, onChoose) {
  byId(id).addEventListener("change", ({ target }) => onChoose(target.value));
}

function check(name, value) {
  for (const input of document.querySelectorAll(`input[name=${name}]`)) input.checked = input.value === value;
}

/** Puts choices into a select, if they are others. */
function fill(select, choices) {
  const text = JSON.stringify(choices);
  if (select.dataset.choices === text) return;
  select.dataset.choices = text;
  select.replaceChildren(...choices.map(([value, label]) => new Option(label, value)));
}

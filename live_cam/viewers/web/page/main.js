/** The page: connects what the server sends with the tiles, the controls and the keys. */

import { ServerError, request } from "./api.js";
import { DEVICE, DeviceCamera, cameraProblem } from "./camera.js";
import { hasColormaps, loadColormaps } from "./colormaps.js";
import { KEY_GROUPS, applyKey, explainAgain, markSpot } from "./commands.js";
import { Connection } from "./connection.js";
import { columnsFor, median } from "./grid.js";
import { Look, applyTheme, hasLetterKeys, toggleTheme } from "./look.js";
import { Messages } from "./messages.js";
import { Panel } from "./panel.js";
import { setText } from "./texts.js";
import { Tile } from "./tile.js";
import { framePlaceOf } from "./views.js";

const TICK_MS = 250;
const PHONE = matchMedia("(max-width: 700px)");

const byId = (id) => document.getElementById(id);

export class App {
  /** @type {any} The server's status. */
  status = null;
  /** @type {Map<string, Tile>} */
  tiles = new Map();
  look = new Look(() => this.#lookChanged());
  messages = new Messages(KEY_GROUPS);
  panel = new Panel(this);
  #focusedKey = "";
  #isPanelOpen = !PHONE.matches;
  #camera = null;
  #watched = "";
  #connectionState = "";
  #visibility = new IntersectionObserver((entries) => this.#sawTiles(entries));
  #connection = new Connection({
    onState: (state, text) => this.#showState(state, text),
    onStatus: (status) => this.takeStatus(status),
    onFrame: (frame) => this.#takeFrame(frame),
  });

  /** Starts the page. */
  start() {
    applyTheme();
    this.#bind();
    this.#connection.start();
    setInterval(() => this.#tick(), TICK_MS);
    new ResizeObserver(() => this.#arrange()).observe(byId("grid"));
  }

  #bind() {
    byId("back").addEventListener("click", () => this.back());
    byId("theme-button").addEventListener("click", () => this.say(`${toggleTheme()} page`));
    byId("panel-button").addEventListener("click", () => this.#openPanel(byId("panel").hidden));
    byId("welcome-button").addEventListener("click", () => this.startCamera());
    byId("camera-button").addEventListener("click", () => (this.#camera ? this.focus(DEVICE) : this.startCamera()));
    addEventListener("keydown", (event) => this.#key(event));
    addEventListener("keyup", (event) => {
      if (event.key === " " && event.target === this.focusedTile?.button) event.preventDefault();
    });
    addEventListener("hashchange", () => location.hash && this.#connection.start());
    addEventListener("popstate", ({ state }) => this.#setFocus(state?.focused ?? ""));
    addEventListener("visibilitychange", () => this.#watch());
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || (byId("help").open && event.key !== "h")) return;
    const { tagName, type } = event.target;
    const isText = tagName === "SELECT" || (tagName === "INPUT" && type === "text");
    if (isText && event.key !== "Escape") return;
    // These work controls that have the focus; the enlarged picture is worked by Enter.
    const isPicture = event.target === this.focusedTile?.button;
    if (event.key === " " && ["BUTTON", "INPUT"].includes(tagName) && !isPicture) return;
    if (event.key.length === 1 && event.key !== " " && !hasLetterKeys()) return;
    if (applyKey(this, event.key)) event.preventDefault();
  }

  // Status

  /** Takes a status of the server. */
  takeStatus(status) {
    const before = this.status;
    this.status = status;
    if (!before || before.model !== status.model) this.panel.forget();
    if (!before || before.model !== status.model || !hasColormaps()) {
      this.trying(async () => {
        await loadColormaps();
        this.#lookChanged();
      });
    }
    this.look.useDefaults(status.look);
    const ids = new Set(status.sources.map(({ id }) => id));
    for (const [key, tile] of this.tiles) if (!ids.has(key) && key !== DEVICE) this.#removeTile(tile);
    for (const source of status.sources) {
      const tile = this.tiles.get(source.id);
      if (tile) tile.update(source);
      else this.#addTile(source.id, source);
    }
    // A single picture needs no grid.
    if (this.tiles.size === 1 && !this.focusedTile) this.#setFocus([...this.tiles.keys()][0]);
    const { model, method, layer, precision } = status;
    if (before?.method && (before.method !== method || before.layer !== layer)) this.#explainFrozen(`${method} · ${layer}`);
    if (status.error && status.error !== before?.error) this.say(status.error, true);
    const network = precision === "int8" ? `${model} int8` : model;
    setText(byId("model-line"), model ? [network, method, layer].join(" · ") : "");
    this.messages.showGate(status.state === "failed" ? "livecam cannot start its model" : "", status.message, "failed");
    this.panel.refreshStatus();
    if (status.preparing && !before?.preparing) this.announce(this.panel.preparingText);
    this.#arrange();
  }

  #explainFrozen(notice) {
    this.say(notice);
    for (const tile of this.tiles.values()) {
      tile.spot = null;
      if (tile.isFrozen) this.trying(() => explainAgain(tile));
    }
  }

  #showState(state, text = "") {
    document.body.dataset.connection = state;
    const words = { connecting: "connecting", reconnecting: "reconnecting", live: "", refused: "" }[state];
    setText(byId("connection"), words + (words && text ? ` · ${text}` : ""));
    if (state !== this.#connectionState) this.announce(state === "live" ? "connected" : words);
    this.#connectionState = state;
    const isRefused = state === "refused";
    const hint = "Open the address that livecam printed when it started: it ends with # and a token.";
    this.messages.showGate(isRefused ? "This page needs its token" : "", hint, "refused");
    if (state === "live") this.#watched = "";
    this.#watch();
  }

  // Tiles

  #addTile(key, source) {
    const tile = new Tile(key, source, () => this.look.current);
    tile.change = async (settings) => {
      tile.update(await request(`/api/sources/${encodeURIComponent(key)}/settings`, { json: settings }));
    };
    tile.button.addEventListener("click", (event) => this.#clickTile(tile, event));
    tile.button.addEventListener("keydown", (event) => this.#moveSpot(tile, event));
    this.tiles.set(key, tile);
    byId("grid").append(tile.element);
    this.#visibility.observe(tile.element);
    return tile;
  }

  #removeTile(tile) {
    this.tiles.delete(tile.key);
    this.#visibility.unobserve(tile.element);
    tile.close();
    if (this.#focusedKey === tile.key) this.#setFocus("");
  }

  #clickTile(tile, event) {
    if (this.focusedTile !== tile) return this.focus(tile.key);
    if (!tile.picture?.explanation) return undefined;
    const box = tile.canvas.getBoundingClientRect();
    // A click by the keyboard has no place.
    const isKey = event.detail === 0;
    const [x, y] = isKey ? [0.5, 0.5] : [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const place = isKey && tile.look.view === "original" ? [0.5, 0.5] : framePlaceOf(x, y, tile.picture, tile.look);
    if (isKey && tile.spot) return markSpot(this, tile, tile.spot.x, tile.spot.y);
    return markSpot(this, tile, ...(isKey ? [0.5, 0.5] : place));
  }

  /** Moves a marked spot by the arrow keys: its maps are there. */
  #moveSpot(tile, event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step || !tile.spot?.explanation) return;
    event.preventDefault();
    const inside = (value) => Math.min(Math.max(value, 0), 1);
    const flip = tile.look.mirror ? -1 : 1;
    tile.spot.x = inside(tile.spot.x + 0.04 * flip * step[0]);
    tile.spot.y = inside(tile.spot.y + 0.04 * step[1]);
    tile.refresh();
    this.announce(tile.spotText);
  }

  /** The enlarged tile, if there is one. */
  get focusedTile() {
    return this.tiles.get(this.#focusedKey) ?? null;
  }

  /** The tile that keys are for: the enlarged one, the one with the keyboard's focus, or the only one. */
  get currentTile() {
    const tiles = [...this.tiles.values()];
    const active = tiles.find(({ element }) => element.contains(document.activeElement));
    return this.focusedTile ?? active ?? (tiles.length === 1 ? tiles[0] : null);
  }

  /** Enlarges a tile. */
  focus(key) {
    if (this.#focusedKey === key) return;
    history[this.#focusedKey ? "replaceState" : "pushState"]({ focused: key }, "");
    this.#setFocus(key);
  }

  /** Closes what is open: a message, a spot, the enlarged picture. */
  back() {
    const tile = this.focusedTile;
    if (this.messages.hasProblem) this.messages.hide();
    else if (tile?.spot) this.#forgetSpot(tile);
    else if (tile && this.tiles.size > 1) history.state?.focused ? history.back() : this.#setFocus("");
  }

  #forgetSpot(tile) {
    tile.spot = null;
    tile.refresh();
  }

  #setFocus(key) {
    const before = this.focusedTile;
    this.#focusedKey = this.tiles.has(key) ? key : "";
    const tile = this.focusedTile;
    if (before && before !== tile) this.#forgetSpot(before);
    document.title = tile ? `${tile.source.name} · livecam` : "livecam";
    for (const each of this.tiles.values()) each.element.classList.toggle("is-focused", each === tile);
    document.body.classList.toggle("has-focus", Boolean(tile));
    byId("panel").hidden = tile ? !this.#isPanelOpen && !PHONE.matches : true;
    byId("panel-button").setAttribute("aria-expanded", String(!byId("panel").hidden));
    (tile ?? before)?.button.focus({ preventScroll: true });
    if (PHONE.matches && !tile) before?.element.scrollIntoView({ block: "nearest" });
    else scrollTo(0, 0);
    this.panel.refresh();
    this.#arrange();
  }

  #openPanel(isOpen) {
    if (this.focusedTile) this.#isPanelOpen = isOpen;
    byId("panel").hidden = !isOpen;
    byId("panel-button").setAttribute("aria-expanded", String(isOpen));
    if (isOpen && PHONE.matches) byId("panel").scrollIntoView({ behavior: "smooth" });
    this.#arrange();
  }

  /** Makes the tiles as large as possible. */
  #arrange() {
    const grid = byId("grid");
    const tiles = [...this.tiles.values()];
    const count = this.focusedTile ? 1 : tiles.length;
    const ratio = this.focusedTile?.ratio ?? median(tiles.map((tile) => tile.ratio));
    const columns = PHONE.matches ? 1 : columnsFor(count, grid.clientWidth, grid.clientHeight, ratio);
    grid.style.setProperty("--columns", columns);
    grid.style.setProperty("--rows", Math.max(1, Math.ceil(count / columns)));
    byId("back").hidden = !this.focusedTile || this.tiles.size < 2;
    const hasNothing = Boolean(this.status) && this.tiles.size === 0;
    byId("welcome").hidden = !hasNothing;
    byId("camera-button").hidden = hasNothing;
    byId("grid").hidden = hasNothing;
    if (hasNothing) {
      setText(
        byId("welcome-text"),
        `See what ${this.status.model || "the network"} looks at. The pictures go to ${location.host}, which keeps none ` +
          "of them; nobody else sees them.",
      );
    }
  }

  #sawTiles(entries) {
    for (const { target, isIntersecting } of entries) {
      const tile = [...this.tiles.values()].find(({ element }) => element === target);
      if (tile) tile.isVisible = isIntersecting;
    }
    this.#watch();
  }

  /** Tells the server what is seen: nothing of hidden pages, hidden tiles and frozen pictures. */
  #watch() {
    const isSeen = document.visibilityState === "visible";
    const watched = [...this.tiles.values()].filter((tile) => tile.isVisible && !tile.isFrozen && tile.key !== DEVICE);
    const ids = isSeen ? watched.map(({ key }) => key) : [];
    if (this.#watched === ids.join("\n") && this.#watched) return;
    this.#watched = ids.join("\n");
    this.#connection.watch(ids);
  }

  async #takeFrame(frame) {
    const { source, number, jpeg, width, height, explanation, ...info } = frame;
    const tell = () => this.#connection.painted(source, number);
    const tile = this.tiles.get(source);
    try {
      const image = await createImageBitmap(jpeg);
      if (!tile?.element.isConnected) image.close();
      else return tile.show({ image, width, height, explanation, info, grab: async () => jpeg }, tell);
    } catch {
      // A broken picture is left out; the next one follows.
    }
    return tell();
  }

  /** Follows a change of a tile by its viewer. */
  tileChanged() {
    this.#watch();
    this.panel.refresh();
  }

  #lookChanged() {
    for (const tile of this.tiles.values()) {
      tile.repaint();
      tile.refresh();
    }
    if (this.status) this.panel.refreshLook();
    this.#arrange();
  }

  #tick() {
    for (const tile of this.tiles.values()) tile.refresh();
    this.panel.refresh();
    const preparing = this.panel.preparingText || (this.status?.state === "preparing" ? this.status.message || "preparing" : "");
    if (document.body.dataset.connection === "live") setText(byId("connection"), preparing);
  }

  // This device's camera

  /** Starts this device's camera, or changes it. @param {(camera: DeviceCamera) => Promise<void>} [how] */
  async startCamera(how = (camera) => camera.start()) {
    const isNew = !this.#camera;
    const tile = isNew ? this.#addTile(DEVICE, deviceSource()) : this.tiles.get(DEVICE);
    const camera = (this.#camera ??= new DeviceCamera(tile, () => this.status, (text) => this.say(text, true)));
    const wasStopped = () => this.#camera !== camera; // While the browser asked its user.
    try {
      await how(camera);
      if (wasStopped()) return;
      this.#setFocus(DEVICE);
      await this.panel.refreshCameras(camera.deviceId);
    } catch (error) {
      if (wasStopped()) return;
      if (isNew) this.stopCamera();
      setText(byId("welcome-problem"), cameraProblem(error));
      if (byId("welcome").hidden) this.say(cameraProblem(error), true);
    }
    byId("camera-button").setAttribute("aria-pressed", String(Boolean(this.#camera)));
  }

  /** Stops this device's camera. */
  stopCamera() {
    this.#camera.stop();
    this.#camera = null;
    this.#removeTile(this.tiles.get(DEVICE));
    byId("camera-button").setAttribute("aria-pressed", "false");
    this.#arrange();
  }

  /** Flips the picture of this device's camera. */
  mirrorCamera() {
    const tile = this.tiles.get(DEVICE);
    tile.isMirrored = !tile.isMirrored;
    tile.repaint();
    this.panel.refresh();
  }

  // Messages

  /** Does something; what the server refuses becomes a message. */
  async trying(action) {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.say(error.message, true);
    }
  }

  /** Shows a message; see `Messages`. */
  say(text, stays = false) {
    this.messages.say(text, stays);
  }

  /** Tells screen readers; see `Messages`. */
  announce(text) {
    this.messages.announce(text);
  }

  /** Shows or hides the key table. */
  toggleHelp() {
    this.messages.toggleHelp();
  }
}

function deviceSource() {
  const settings = { target: null, target_label: null, contrast: "none", smooth_seconds: 0.15 };
  return { id: DEVICE, name: "This device’s camera", state: "preparing", problem: "", settings, size_wh: [4, 3] };
}

new App().start();

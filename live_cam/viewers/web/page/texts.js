/** How scores, durations and classes are written: as in the window. */

/** Returns the probability in percent, with a decimal below 10 %; or the raw value if there is no probability. */
export function scoreText({ probability, value }) {
  if (probability === null) return String(Number(value.toPrecision(3)));
  const percent = 100 * probability;
  if (percent < 0.05) return "<0.1 %";
  return percent < 9.95 ? `${percent.toFixed(1)} %` : `${percent.toFixed(0)} %`;
}

/** Returns a duration in words: "12 s", "3 min", "2 h 5 min". */
export function durationText(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Returns the explained class with what it is contrasted with: "tabby, not Egyptian cat". */
export function titleOf({ explained, contrast }) {
  if (!contrast.length) return explained.label;
  return `${explained.label}, not ${contrast.length > 1 ? "similar classes" : contrast[0].label}`;
}

/**
 * Returns what is to be known of an explanation beside its class: another top class, a lock, doubt, no evidence.
 * @param {import("./frames.js").Explanation} explanation
 */
export function notesOf(explanation) {
  const { explained, predictions, contrast, heatMaps } = explanation;
  const notes = [];
  if (contrast.length > 1) notes.push(`not ${contrast.map(({ label }) => label).join(", ")}`);
  if (predictions.length && predictions[0].class_index !== explained.class_index) {
    notes.push(`top: ${predictions[0].label} ${scoreText(predictions[0])}`);
  }
  if (explanation.is_locked) notes.push("locked");
  if (explanation.is_unsure) notes.push("unsure");
  if (!heatMaps[0]?.values.some((value) => value > 0)) notes.push("no positive evidence");
  return notes;
}

/** Writes a text into an element, if it is another one. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Charts as inline SVG. Colours and fonts are in charts.css, by class. */
import { element } from "./elements.js";

/** @typedef {{ key: string, label: string }} Series */
/** @typedef {{ label: string, short: string, values: Record<string, number> }} Column */
/** @typedef {{ id: string, title: string, description: string, width: number, format: (value: number) => string }} Frame */

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 220;
const MARGIN = { top: 12, right: 4, bottom: 24, left: 56 };
const ROW = { height: 30, bar: 8 };
/** The space between two texts on a line. */
const GAP = 6;
const ruler = document.createElement("canvas").getContext("2d");

/**
 * @param {string} name
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} content
 */
function svg(name, attributes = {}, ...content) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, typeof value === "number" ? value.toFixed(1) : value);
  made.append(...content);
  return made;
}

/**
 * @param {Frame} frame
 * @param {number} height
 * @param {...Node} content
 */
function picture({ id, title, description, width }, height, ...content) {
  const names = { title: `${id}-title`, description: `${id}-description` };
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": `${names.title} ${names.description}`, class: "chart" },
    svg("title", { id: names.title }, title),
    svg("desc", { id: names.description }, description),
    ...content,
  );
}

/**
 * Columns of stacked bars: positive values above the zero line, negative ones below it.
 * @param {Frame} frame
 * @param {readonly Series[]} series
 * @param {readonly Column[]} columns
 */
export function stackedColumns(frame, series, columns) {
  const sums = columns.map(({ values }) => ({
    up: series.reduce((sum, { key }) => sum + Math.max(0, values[key] ?? 0), 0),
    down: series.reduce((sum, { key }) => sum + Math.min(0, values[key] ?? 0), 0),
  }));
  const step = stepFor(Math.max(...sums.map(({ up }) => up)) - Math.min(...sums.map(({ down }) => down)));
  const most = Math.ceil(Math.max(step, ...sums.map(({ up }) => up)) / step) * step;
  const least = Math.floor(Math.min(0, ...sums.map(({ down }) => down)) / step) * step;
  const inner = { width: frame.width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const y = (/** @type {number} */ value) => MARGIN.top + (most - value) / (most - least) * inner.height;
  const slot = inner.width / columns.length;
  const bar = Math.max(2, Math.min(40, slot * 0.7));
  const ticks = Array.from({ length: Math.round((most - least) / step) + 1 }, (_, i) => least + i * step);
  const labelWidth = Math.max(...columns.map(({ short }) => textWidth(short))) + GAP;
  // The last label is moved to the left if it does not fit below its column.
  const moved = Math.max(0, (labelWidth - slot) / 2 - MARGIN.right);
  const every = Math.ceil((labelWidth + moved) / slot);
  const drawn = columns.flatMap(({ label, short, values }, i) => {
    const x = MARGIN.left + slot * i + (slot - bar) / 2;
    const said = series.filter(({ key }) => values[key]).map(({ key, label: name }) => `${name} ${frame.format(values[key] ?? 0)}`);
    // The label of the last column is always shown, and others only at a distance from it.
    const text = (columns.length - 1 - i) % every === 0
      ? [svg("text", { x: Math.min(x + bar / 2, frame.width - labelWidth / 2), y: HEIGHT - 6, "text-anchor": "middle" }, short)]
      : [];
    return [svg("g", {}, svg("title", {}, `${label}: ${said.join(", ") || "none"}`), ...stack(series, values, { x, bar, y })), ...text];
  });
  return picture(frame, HEIGHT, ...ticks.map((tick) => gridLine(frame, tick, y(tick))), ...drawn);
}

/**
 * @param {readonly Series[]} series
 * @param {Record<string, number>} values
 * @param {{ x: number, bar: number, y: (value: number) => number }} place
 */
function stack(series, values, { x, bar, y }) {
  let [up, down] = [0, 0];
  return series.flatMap(({ key }) => {
    const value = values[key] ?? 0;
    if (value === 0) return [];
    const from = value > 0 ? up : down;
    if (value > 0) up += value;
    else down += value;
    const [top, bottom] = [y(Math.max(from, from + value)), y(Math.min(from, from + value))];
    return [svg("rect", { x, y: top, width: bar, height: Math.max(1, bottom - top), class: `series-${key}`, "data-series": key })];
  });
}

/**
 * @param {Frame} frame
 * @param {number} value
 * @param {number} y
 */
function gridLine({ width, format }, value, y) {
  return svg(
    "g",
    {},
    svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y, class: value === 0 ? "zero" : "grid" }),
    svg("text", { x: MARGIN.left - 6, y: y + 4, "text-anchor": "end" }, format(value)),
  );
}

/**
 * One bar for each row, with its name above it and its value at the right.
 * @param {Frame} frame
 * @param {readonly { label: string, value: number, text: string, series: string }[]} rows
 * @param {number} most the value of a full bar
 */
export function rowBars(frame, rows, most) {
  const { width } = frame;
  const drawn = rows.flatMap(({ label, value, text, series }, i) => {
    const y = i * ROW.height;
    const filled = most === 0 ? 0 : value / most * width;
    return [
      svg("text", { x: 0, y: y + 13, class: "name" }, cut(label, width - textWidth(text) - GAP)),
      svg("text", { x: width, y: y + 13, "text-anchor": "end" }, text),
      svg("rect", { x: 0, y: y + 18, width, height: ROW.bar, rx: 2, class: "track" }),
      svg("rect", {
        x: 0,
        y: y + 18,
        width: Math.max(value > 0 ? 2 : 0, filled),
        height: ROW.bar,
        rx: 2,
        class: `series-${series}`,
        "data-series": series,
      }),
    ];
  });
  return picture(frame, Math.max(1, rows.length) * ROW.height, ...drawn);
}

/** The width of a text in the font of charts.css, in pixels.
 * @param {string} text
 */
function textWidth(text) {
  if (ruler === null) return text.length * 7;
  ruler.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
}

/** A text that fits into so many pixels.
 * @param {string} text
 * @param {number} pixels
 */
function cut(text, pixels) {
  if (textWidth(text) <= pixels) return text;
  const characters = [...text];
  while (characters.length > 1 && textWidth(`${characters.join("")}…`) > pixels) characters.pop();
  return `${characters.join("")}…`;
}

/** The step of about four grid lines: 1, 2 or 5 times a power of ten, and at least 1.
 * @param {number} range
 */
function stepFor(range) {
  const rough = Math.max(1, range / 4);
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
}

/**
 * The legend of a chart with several series.
 * @param {readonly Series[]} series
 */
export function legend(series) {
  const item = (/** @type {Series} */ { key, label }) => element("li", {}, element("span", { class: `swatch series-${key}` }), label);
  return element("ul", { class: "legend", "aria-hidden": "true" }, ...series.map(item));
}

/**
 * The numbers of a chart as a table, which is closed at first.
 * @param {string} caption
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
export function numbers(caption, head, rows) {
  const cells = (/** @type {readonly string[]} */ row) =>
    row.map((text, i) => i === 0 ? element("th", { scope: "row" }, text) : element("td", {}, text));
  const table = element(
    "table",
    {},
    element("caption", { class: "quiet" }, caption),
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells(row)))),
  );
  return element("details", { class: "numbers" }, element("summary", {}, "Numbers"), element("div", { tabindex: "0" }, table));
}

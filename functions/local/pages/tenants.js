import { element, words } from "./elements.js";

const HIGH_PERCENT = 80;
const exact = new Intl.NumberFormat("en");
const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const days = new Intl.DateTimeFormat("en", { dateStyle: "long", timeZone: "UTC" });
/** Counts are shown with SI prefixes, bytes with binary ones, because the byte limits of plans are round in them. */
const COUNTED = { step: 1_000, from: 10_000, units: ["", " k", " M", " G", " T", " P"] };
const BYTES = { step: 1_024, from: 1_024, units: [" bytes", " KiB", " MiB", " GiB", " TiB", " PiB"] };

/**
 * @param {number} amount in major units, as the API sends it
 * @param {string} currency
 */
export function money(amount, currency) {
  return new Intl.NumberFormat("en", { style: "currency", currency, trailingZeroDisplay: "stripIfInteger" }).format(amount);
}

/**
 * @param {number} amount
 * @param {typeof COUNTED} scale
 */
function short(amount, { step, from, units }) {
  let [value, prefix] = [amount, 0];
  for (; amount >= from && value >= step && prefix < units.length - 1; prefix++) value /= step;
  return `${prefix === 0 ? exact.format(value) : digits.format(value)}${units[prefix]}`;
}

/**
 * One tenant: name, plan, status, revenue, and a bar for each of its metrics.
 * @param {import("./api.js").Tenant} tenant
 * @param {{ usage: import("./api.js").Usage[], names: Map<string, string>, currency: string }} facts
 */
export function tenantItem(tenant, { usage, names, currency }) {
  const { id, name, plan, status, mrr } = tenant;
  const revenue = element("dd", {}, money(mrr, currency), element("span", {}, " a month"));
  return element(
    "li",
    { "data-tenant": id },
    element(
      "div",
      {},
      element("h3", {}, name),
      element("p", { class: "quiet" }, element("code", {}, id)),
      element(
        "dl",
        { class: "facts" },
        fact("revenue", "Monthly revenue", revenue),
        fact("plan", "Plan", element("dd", {}, plan)),
        fact("state", "Status", element("dd", { class: "status", "data-status": status }, words(status))),
      ),
    ),
    element("div", { class: "meters" }, ...usage.map((one) => meter(one, names.get(one.metric) ?? words(one.metric), name))),
  );
}

/**
 * @param {string} kind
 * @param {string} label
 * @param {HTMLElement} value
 */
function fact(kind, label, value) {
  return element("div", { class: kind }, element("dt", {}, label), value);
}

/**
 * The usage and its limit, as an exact text with the date on which a counter is reset, and as a short text.
 * @param {import("./api.js").Usage} usage
 * @param {string} label
 */
function amounts({ current, limit, percentage, unit, resetsAt }, label) {
  const [used, most] = [exact.format(current), limit === null ? null : exact.format(limit)];
  const again = resetsAt === null ? "" : `; resets to 0 on ${days.format(new Date(resetsAt))}`;
  const full = (most === null ? `${used} ${unit}, no limit` : `${used} of ${most} ${unit}`) + again;
  const scale = unit === "bytes" ? BYTES : COUNTED;
  // Not "Rooms 140 of 500 rooms".
  const named = scale === BYTES || label.toLowerCase().includes(unit.toLowerCase()) ? "" : ` ${unit}`;
  if (limit === null) return { full, shown: `${short(current, scale)}${named}, no limit`, level: "none" };
  const isOver = current > limit;
  const share = isOver ? "over the limit" : `${percentage}%`;
  const level = isOver ? "over" : percentage >= HIGH_PERCENT ? "high" : "normal";
  return { full, shown: `${short(current, scale)} of ${short(limit, scale)}${named} · ${share}`, level };
}

/**
 * @param {import("./api.js").Usage} usage
 * @param {string} label
 * @param {string} tenantName
 */
function meter(usage, label, tenantName) {
  const { metric, kind, limit, percentage } = usage;
  const { full, shown, level } = amounts(usage, label);
  const fill = element("span");
  fill.style.width = `${percentage}%`;
  const track = limit === null ? element("div", { class: "track" }) : element("div", {
    class: "track",
    role: "meter",
    "aria-label": `${label} of ${tenantName}`,
    "aria-valuemin": "0",
    "aria-valuemax": "100",
    "aria-valuenow": String(percentage),
    "aria-valuetext": full,
  }, fill);
  const name = element("span", {}, label, ...(kind === "counter" ? [element("span", { class: "quiet" }, " this month")] : []));
  return element(
    "div",
    { class: "meter", "data-metric": metric, "data-level": level, title: full },
    element("div", { class: "words" }, name, element("span", { class: "amount" }, shown)),
    track,
  );
}

/**
 * The number of tenants, in total and by status, and the revenue of the active and trial ones.
 * @param {import("./api.js").Stats} stats
 */
export function figures({ total, totalMrr, currency, byStatus }) {
  const all = [["Tenants", exact.format(total)], ["Monthly revenue, active and trial", money(totalMrr, currency)]];
  const counts = Object.entries(byStatus).map(([status, count]) => [words(status), exact.format(count)]);
  return [...all, ...counts].map(([label = "", value = ""]) => element("div", {}, element("dt", {}, label), element("dd", {}, value)));
}

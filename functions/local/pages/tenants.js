import { element, words } from "./elements.js";

const HIGH_PERCENT = 80;
const exact = new Intl.NumberFormat("en");
const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
/** SI prefixes fit whatever is counted: a compact "79B" would be read as bytes. */
const PREFIXES = ["", " k", " M", " G", " T", " P"];

/**
 * @param {number} amount in major units, as the API sends it
 * @param {string} currency
 */
export function money(amount, currency) {
  return new Intl.NumberFormat("en", { style: "currency", currency, trailingZeroDisplay: "stripIfInteger" }).format(amount);
}

/** @param {number} amount */
function short(amount) {
  const steps = amount < 10_000 ? 0 : Math.min(PREFIXES.length - 1, Math.floor(Math.log10(amount) / 3));
  return steps === 0 ? exact.format(amount) : `${digits.format(amount / 1_000 ** steps)}${PREFIXES[steps]}`;
}

/**
 * One tenant: name, plan, status, revenue, and a bar for each metric the API sent.
 * @param {import("./api.js").Tenant} tenant
 * @param {import("./api.js").Usage[]} usage
 * @param {string} currency
 */
export function tenantItem(tenant, usage, currency) {
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
    element("div", { class: "meters" }, ...usage.map((one) => meter(one, name))),
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
 * @param {import("./api.js").Usage} usage
 * @param {string} tenantName
 */
function meter({ metric, current, limit, percentage }, tenantName) {
  const full = limit === null ? `${exact.format(current)}, no limit` : `${exact.format(current)} of ${exact.format(limit)}`;
  const shown = limit === null ? `${short(current)}, no limit` : `${short(current)} of ${short(limit)} · ${percentage} %`;
  const fill = element("span");
  fill.style.width = `${limit === null ? 0 : percentage}%`;
  const level = limit === null ? "none" : percentage >= 100 ? "full" : percentage >= HIGH_PERCENT ? "high" : "normal";
  const track = limit === null ? element("div", { class: "track" }) : element("div", {
    class: "track",
    role: "meter",
    "aria-label": `${words(metric)} of ${tenantName}`,
    "aria-valuemin": "0",
    "aria-valuemax": "100",
    "aria-valuenow": String(percentage),
    "aria-valuetext": full,
  }, fill);
  return element(
    "div",
    { class: "meter", "data-metric": metric, "data-level": level, title: full },
    element("div", { class: "words" }, element("span", {}, words(metric)), element("span", { class: "amount" }, shown)),
    track,
  );
}

/**
 * The figures over all tenants, whatever statuses and plans there are.
 * @param {import("./api.js").Stats} stats
 */
export function figures({ total, totalMrr, currency, byStatus }) {
  const all = [["Tenants", exact.format(total)], ["Monthly revenue", money(totalMrr, currency)]];
  const counts = Object.entries(byStatus).map(([status, count]) => [words(status), exact.format(count)]);
  return [...all, ...counts].map(([label = "", value = ""]) => element("div", {}, element("dt", {}, label), element("dd", {}, value)));
}

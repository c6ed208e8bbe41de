/** The charts of the platform's numbers, drawn from GET /v1/dashboard. */
import { get } from "./api.js";
import { legend, numbers, rowBars, stackedColumns } from "./charts.js";
import { byId, element, showProblem, words } from "./elements.js";
import { money } from "./tenants.js";

/** @typedef {import("./api.js").Dashboard} Dashboard */

const KINDS = [
  { key: "new", label: "new" },
  { key: "expansion", label: "expansion" },
  { key: "reactivation", label: "reactivation" },
  { key: "contraction", label: "contraction" },
  { key: "churn", label: "churn" },
];
const SIGN_UPS = [{ key: "new", label: "tenants" }];
const HIGH_PERCENT = 100;
const COUNTED_UP_TO = 100;

const place = byId("dashboard-problem", HTMLElement);
const charts = byId("charts", HTMLElement);
const count = new Intl.NumberFormat("en");
const monthName = new Intl.DateTimeFormat("en", { month: "short", timeZone: "UTC" });
const longMonth = new Intl.DateTimeFormat("en", { month: "long", year: "numeric", timeZone: "UTC" });
const shortDay = new Intl.DateTimeFormat("en", { day: "numeric", month: "numeric", timeZone: "UTC" });
const longDay = new Intl.DateTimeFormat("en", { dateStyle: "long", timeZone: "UTC" });

/** @type {Dashboard | null} */
let latest = null;
/** What is drawn: the numbers and the width. Unchanged charts are not drawn again, so that an open table stays open. */
let drawn = "";

/**
 * Shows the charts.
 * @param {string} token
 */
export async function loadDashboard(token) {
  try {
    latest = await get("/v1/dashboard", token);
    showProblem(place, null);
    draw();
  } catch (error) {
    // The earlier charts stay on the page, with the error above them.
    showProblem(place, error);
  }
}

function draw() {
  if (latest === null) return;
  charts.hidden = false;
  const width = Math.floor(charts.querySelector("figure")?.clientWidth || Math.min(520, charts.clientWidth));
  const { asOf: _, ...shown } = latest;
  const content = JSON.stringify([shown, width]);
  if (content === drawn) return;
  drawn = content;
  charts.replaceChildren(revenue(latest, width), signUps(latest, width), tenants(latest, width), nearLimits(latest, width));
  // The first drawing only gives the columns their width.
  if (charts.querySelector("figure")?.clientWidth !== width) draw();
}

new ResizeObserver(() => draw()).observe(charts);

/**
 * @param {string} name
 * @param {string} title
 * @param {...(Node | string)} content
 */
function figure(name, title, ...content) {
  return element("figure", { "data-chart": name }, element("figcaption", {}, element("h3", {}, title)), ...content);
}

/**
 * @param {Dashboard} dashboard
 * @param {number} width
 */
function revenue({ currency, tenants: { mrr }, revenue: { movements } }, width) {
  const format = (/** @type {number} */ value) => money(value, currency);
  const title = "Monthly revenue: movements by month";
  const first = movements[0]?.starting ?? 0;
  const description = `In 12 months the monthly revenue went from ${format(first)} to ${
    format(mrr)
  }. Gains are above the line, losses below it.`;
  const frame = { id: "chart-revenue", title, description, width, format: (/** @type {number} */ value) => compactMoney(value, currency) };
  const at = (/** @type {string} */ month) => new Date(`${month}-01T00:00:00Z`);
  const columns = movements.map(({ month, ...values }) => ({
    label: longMonth.format(at(month)),
    short: monthName.format(at(month)),
    values,
  }));
  const rows = movements.map((one) => [
    one.month,
    ...[one.starting, one.new, one.expansion, one.reactivation, one.contraction, one.churn, one.ending].map(format),
  ]);
  const head = ["Month", "Starting", ...KINDS.map(({ label }) => label), "Ending"];
  return figure("revenue", title, legend(KINDS), stackedColumns(frame, KINDS, columns), numbers(title, head, rows));
}

/**
 * @param {Dashboard} dashboard
 * @param {number} width
 */
function signUps({ signUps: { days, tenants: total } }, width) {
  const title = `Sign-ups: ${count.format(total)} in ${days.length} days`;
  const most = days.reduce((best, day) => day.tenants > best.tenants ? day : best, { day: "", tenants: 0 });
  const description = most.tenants === 0
    ? "No tenant was created on these days."
    : `The most, ${count.format(most.tenants)}, were on ${longDay.format(new Date(most.day))}.`;
  const frame = { id: "chart-sign-ups", title, description, width, format: (/** @type {number} */ value) => count.format(value) };
  const columns = days.map(({ day, tenants: created }) => ({
    label: longDay.format(new Date(day)),
    short: shortDay.format(new Date(day)),
    values: { new: created },
  }));
  const rows = days.map(({ day, tenants: created }) => [day, count.format(created)]);
  return figure("sign-ups", title, stackedColumns(frame, SIGN_UPS, columns), numbers(title, ["Day", "Tenants"], rows));
}

/**
 * @param {Dashboard} dashboard
 * @param {number} width
 */
function tenants({ currency, tenants: { tenants: total, byStatus, byPlan } }, width) {
  const title = "Tenants by status and plan";
  const statuses = Object.entries(byStatus).map(([status, tally]) => ({ label: words(status), series: `status-${status}`, ...tally }));
  const plans = byPlan.map(({ plan, ...tally }) => ({ label: `Plan ${plan}`, series: "plan", ...tally }));
  const groups = [...statuses, ...plans];
  const description = `${count.format(total)} tenants. ${
    groups.map(({ label, tenants: n }) => `${label}: ${count.format(n)}`).join(", ")
  }.`;
  const bars = groups.map(({ label, series, tenants: n, mrr }) => (
    { label, series, value: n, text: `${count.format(n)} · ${money(mrr, currency)}` }
  ));
  const frame = { id: "chart-tenants", title, description, width, format: String };
  const rows = groups.map(({ label, tenants: n, mrr }) => [label, count.format(n), money(mrr, currency)]);
  return figure("tenants", title, rowBars(frame, bars, total), numbers(title, ["Group", "Tenants", "Monthly revenue"], rows));
}

/**
 * @param {Dashboard} dashboard
 * @param {number} width
 */
function nearLimits({ nearLimits: { fromPercent, tenants: total, highest }, openAlerts, pastDueSubscriptions }, width) {
  const title = `Near a limit: ${ended(total)} at ${fromPercent} % or more`;
  const facts = element(
    "p",
    { class: "quiet" },
    `${ended(openAlerts)} open usage alerts, ${ended(pastDueSubscriptions)} subscriptions past due.`,
  );
  if (highest.length === 0) return figure("near-limits", title, facts, element("p", {}, "No tenant is near a limit of its plan."));
  const description = highest.map(({ name, usagePercent }) => `${name}: ${usagePercent} %`).join(", ");
  const bars = highest.map(({ name, plan, usagePercent }) => ({
    label: `${name} · ${plan}`,
    series: usagePercent >= HIGH_PERCENT ? "over" : "high",
    value: Math.min(HIGH_PERCENT, usagePercent),
    text: `${usagePercent} %`,
  }));
  const frame = { id: "chart-near-limits", title, description, width, format: String };
  const rows = highest.map(({ name, plan, usagePercent }) => [name, plan, `${usagePercent} %`]);
  const table = numbers(title, ["Tenant", "Plan", "Highest usage"], rows);
  return figure("near-limits", title, facts, rowBars(frame, bars, HIGH_PERCENT), table);
}

/**
 * A count that ends at 100.
 * @param {number} counted
 */
function ended(counted) {
  return counted >= COUNTED_UP_TO ? `${count.format(counted)} or more` : count.format(counted);
}

/**
 * @param {number} amount
 * @param {string} currency
 */
function compactMoney(amount, currency) {
  return new Intl.NumberFormat("en", { style: "currency", currency, notation: "compact", maximumFractionDigits: 1 }).format(amount);
}

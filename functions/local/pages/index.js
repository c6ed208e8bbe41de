/** The local page. It reads all data from the API with a token of the role read_only, and deletion previews with one of support. */
import { get } from "./api.js";
import { byId, element, showProblem, words } from "./elements.js";
import { loadDashboard } from "./dashboard.js";
import { followPreview, offerPreview } from "./deletion.js";
import { loadEvents } from "./events.js";
import { loadJobs } from "./jobs.js";
import { loadNotifications } from "./notifications.js";
import { figures, tenantItem } from "./tenants.js";
import { fetchTokens, followChoice, offerTenants, showTokens, showTokensOf } from "./tokens.js";

const PAGE_SIZE = 12;
const EVERY_MS = 10_000;
const SEARCH_PAUSE_MS = 250;

/** @typedef {import("./api.js").Tenant} Tenant */
/** @typedef {{ tenants: Tenant[], usage: import("./api.js").Usage[][], names: Map<string, string>, hasNext: boolean }} Shown */

const filter = byId("filter", HTMLFormElement);
const list = byId("list", HTMLElement);
const place = byId("problem", HTMLElement);

let token = "";
/** @type {string | null} */
let demoTenant = null;
let pages = 1;
/** The data on the page. Unchanged data is not drawn again, which keeps a selection and does not disturb screen readers. */
let drawn = "";
/** The number of the newest load. Only that load may draw, not a slow one with an earlier filter. */
let newest = 0;

followChoice();
const signedIn = signIn();

async function signIn() {
  try {
    const { version } = await get("/local/about");
    byId("version", HTMLElement).textContent = `local stack · version ${version}`;
    const tokens = await fetchTokens(null);
    token = tokens.platform.find(({ role }) => role === "read_only")?.token ?? "";
    // The role read_only may not read requests under data protection law.
    followPreview(tokens.platform.find(({ role }) => role === "support")?.token ?? "");
    demoTenant = tokens.tenantId;
    showTokens(tokens);
  } catch (error) {
    showProblem(byId("token-problem", HTMLElement), error);
  }
}

async function load() {
  const turn = ++newest;
  await signedIn;
  if (turn !== newest) return;
  list.setAttribute("aria-busy", "true");
  if (list.childElementCount === 0) list.replaceChildren(element("li", { class: "quiet" }, "Loading …"));
  // The first read of the events can take several pages.
  void loadEvents(token);
  void loadNotifications(token, demoTenant);
  const [store, tenants] = await Promise.allSettled([readStore(), readTenants(), loadDashboard(token), loadJobs(token)]);
  if (turn !== newest) return;
  if (store.status === "rejected") {
    sayStore("away", `Not ready: ${store.reason instanceof Error ? store.reason.message : String(store.reason)}`);
  }
  list.setAttribute("aria-busy", "false");
  if (tenants.status === "fulfilled") return draw(...tenants.value);
  // The earlier data stays on the page, with the error above it.
  showProblem(place, tenants.reason);
  if (drawn === "") list.replaceChildren();
}

async function readStore() {
  /** @type {import("./api.js").Ready} */
  const { migration, pending, refusesWrites } = await get("/ready");
  const parts = [`Database ready, migration ${migration ?? "unknown"}`];
  if (pending.length > 0) parts.push(`not built yet: ${pending.join(", ")} (run npm run migrate)`);
  if (refusesWrites !== null) parts.push(`writes are refused: ${refusesWrites}`);
  sayStore(parts.length > 1 ? "limited" : "ready", parts.join("; "));
}

/**
 * @param {"ready" | "limited" | "away"} state
 * @param {string} text
 */
function sayStore(state, text) {
  const store = byId("store", HTMLElement);
  store.dataset["state"] = state;
  if (store.textContent !== text) store.textContent = text;
}

/** @returns {Promise<[import("./api.js").Stats, Shown]>} */
async function readTenants() {
  const [stats, shown] = await Promise.all([get("/v1/tenants/stats", token), readPages()]);
  return [stats, shown];
}

/** @returns {Promise<Shown>} */
async function readPages() {
  /** @type {Tenant[]} */
  const tenants = [];
  let path = listPath();
  let hasNext = true;
  for (let page = 0; page < pages && hasNext; page++) {
    /** @type {import("./api.js").TenantPage} */
    const { data, pagination } = await get(path, token);
    tenants.push(...data);
    hasNext = pagination.hasNext && pagination.nextCursor !== undefined;
    path = `${listPath()}&cursor=${encodeURIComponent(pagination.nextCursor ?? "")}`;
  }
  const [usage, names] = await Promise.all([Promise.all(tenants.map(({ id }) => usageOf(id))), metricNames()]);
  return { tenants, usage, names, hasNext };
}

/** The names of the first hundred metrics. Any others are shown with their ids. */
async function metricNames() {
  /** @type {{ data: import("./api.js").Metric[] }} */
  const { data } = await get("/v1/metrics?limit=100", token);
  return new Map(data.map(({ id, name }) => [id, name]));
}

/** @param {string} tenantId */
async function usageOf(tenantId) {
  /** @type {{ data: import("./api.js").Usage[] }} */
  const { data } = await get(`/v1/tenants/${encodeURIComponent(tenantId)}/usage`, token);
  return data;
}

function listPath() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(filter)) if (typeof value === "string" && value !== "") query.set(name, value);
  query.set("limit", String(PAGE_SIZE));
  return `/v1/tenants?${query}`;
}

/**
 * @param {import("./api.js").Stats} stats
 * @param {Shown} shown
 */
function draw(stats, { tenants, usage, names, hasNext }) {
  showProblem(place, null);
  const time = new Intl.DateTimeFormat("en", { timeStyle: "medium" }).format(new Date());
  byId("updated", HTMLElement).textContent = `updated ${time}`;
  const content = JSON.stringify([listPath(), stats, tenants, usage, [...names], hasNext]);
  if (content === drawn) return;
  drawn = content;
  const overall = byId("figures", HTMLElement);
  overall.hidden = false;
  overall.replaceChildren(...figures(stats));
  offerStatuses(Object.keys(stats.byStatus));
  offerTenants(tenants, demoTenant);
  offerPreview(tenants);
  if (demoTenant === null && tenants[0]) showTokensOf(demoTenant = tenants[0].id);
  list.replaceChildren(...tenants.map((tenant, i) => tenantItem(tenant, { usage: usage[i] ?? [], names, currency: stats.currency })));
  list.hidden = tenants.length === 0;
  byId("call", HTMLElement).textContent = `GET ${listPath()}`;
  byId("more", HTMLElement).hidden = !hasNext;
  showEmpty(stats.total, tenants.length);
}

/**
 * @param {number} total
 * @param {number} shown
 */
function showEmpty(total, shown) {
  const empty = byId("empty", HTMLElement);
  empty.hidden = shown > 0;
  if (total > 0) return empty.replaceChildren(element("p", {}, "No tenant matches this search."));
  const body =
    '{"name": "The Lighthouse", "subdomain": "lighthouse", "plan": "Basic", "owner": "owner@lighthouse.example", "ownerName": "Lou Keeper"}';
  const command = `curl ${location.origin}/v1/tenants -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -d '${body}'`;
  empty.replaceChildren(
    element("p", {}, "There are no tenants yet. Create one: set TOKEN to the super admin token below, then run"),
    element("pre", {}, command),
  );
}

/** @param {readonly string[]} statuses */
function offerStatuses(statuses) {
  const select = filter.elements.namedItem("status");
  if (!(select instanceof HTMLSelectElement)) return;
  const known = new Set([...select.options].map(({ value }) => value));
  for (const status of statuses) if (!known.has(status)) select.add(new Option(words(status), status));
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let typing;
filter.addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("input", () => {
  pages = 1;
  clearTimeout(typing);
  typing = setTimeout(() => void load(), SEARCH_PAUSE_MS);
});
byId("refresh", HTMLElement).addEventListener("click", () => void load());
byId("more", HTMLElement).addEventListener("click", () => {
  pages += 1;
  void load();
});
setInterval(() => {
  const isBusy = list.getAttribute("aria-busy") === "true";
  if (byId("live", HTMLInputElement).checked && !document.hidden && !isBusy) void load();
}, EVERY_MS);

await load();

import { get } from "./api.js";
import { byId, element, showProblem, words } from "./elements.js";

/** @typedef {import("./api.js").OutgoingEvent} OutgoingEvent */
/** @typedef {import("./api.js").Webhook} Webhook */
/** @typedef {import("./api.js").Delivery} Delivery */

const SHOWN = 8;
/** Webhooks whose deliveries are shown. */
const WEBHOOKS = 5;
/** Pages of 100 events that one refresh reads. The next refresh continues. */
const PAGES = 10;

const place = byId("events-problem", HTMLElement);
const list = byId("events", HTMLElement);
const deliveriesList = byId("deliveries", HTMLElement);

/** Where the next refresh continues, and the last events before that. */
let cursor = "";
/** @type {OutgoingEvent[]} */
let last = [];
/** @type {Promise<void> | null} */
let reading = null;

/**
 * Shows the last events and deliveries. Calls at the same time share one read, because each event is read once.
 * @param {string} token
 */
export function loadEvents(token) {
  return reading ??= read(token).finally(() => reading = null);
}

/** @param {string} token */
async function read(token) {
  try {
    const [deliveries] = await Promise.all([readDeliveries(token), readEvents(token)]);
    showProblem(place, null);
    list.replaceChildren(...orNone(last.map(eventItem), "There are no events yet."));
    deliveriesList.replaceChildren(
      ...orNone(
        deliveries.map(deliveryItem),
        "There are no deliveries. Start the stack with npm start -- --webhook-echo, or create a webhook.",
      ),
    );
  } catch (error) {
    // The earlier lists stay on the page, with the error above them.
    showProblem(place, error);
  }
}

/** @param {string} token */
async function readEvents(token) {
  let hasMore = true;
  for (let page = 0; page < PAGES && hasMore; page++) {
    const query = new URLSearchParams({ limit: "100", ...(cursor === "" ? {} : { after: cursor }) });
    /** @type {import("./api.js").EventPage} */
    const found = await get(`/v1/events?${query}`, token);
    last = [...found.data.reverse(), ...last].slice(0, SHOWN);
    cursor = found.nextCursor;
    hasMore = found.hasMore;
  }
}

/**
 * The last deliveries of the newest webhooks, each with its webhook.
 * @param {string} token
 * @returns {Promise<[Delivery, Webhook][]>}
 */
async function readDeliveries(token) {
  /** @type {{ data: Webhook[] }} */
  const { data: webhooks } = await get(`/v1/webhooks?limit=${WEBHOOKS}&sort=-createdAt`, token);
  const found = await Promise.all(webhooks.map(async (webhook) => {
    /** @type {{ data: Delivery[] }} */
    const { data } = await get(`/v1/webhooks/${encodeURIComponent(webhook.id)}/deliveries?limit=${SHOWN}`, token);
    return data.map((delivery) => /** @type {[Delivery, Webhook]} */ ([delivery, webhook]));
  }));
  return found.flat().sort(([a], [b]) => b.createdAt.localeCompare(a.createdAt)).slice(0, SHOWN);
}

/** @param {OutgoingEvent} event */
function eventItem({ id, type, timestamp, tenantId, subject, seq }) {
  return element(
    "li",
    { "data-event": id },
    element("code", {}, type),
    element("span", { class: "what" }, subject),
    element("span", { class: "quiet" }, tenantId === undefined ? "platform" : tenantId === subject ? "" : `tenant ${tenantId}`),
    element("span", { class: "quiet" }, `number ${seq}, ${clock(timestamp)}`),
  );
}

/** @param {[Delivery, Webhook]} shown */
function deliveryItem([{ id, event, status, attemptCount, attempts, nextRetryAt }, { url, description }]) {
  const { statusCode, error, durationMs } = attempts.at(-1) ?? {};
  const attempted = attemptCount === 1 ? "1 attempt" : `${attemptCount} attempts`;
  const answer = durationMs === undefined ? "" : `${statusCode === undefined ? "no response" : `status ${statusCode}`} in ${durationMs} ms`;
  const next = nextRetryAt === null || attemptCount === 0 ? [] : [element("span", { class: "quiet" }, `next ${clock(nextRetryAt)}`)];
  const failed = error === undefined ? [] : [element("span", { "data-failed": "true" }, error)];
  return element(
    "li",
    { "data-delivery": id },
    element("code", {}, event),
    element("span", { class: "what" }, description ?? url),
    element("span", status === "failed" ? { "data-failed": "true" } : {}, words(status)),
    element("span", { class: "quiet" }, `${attempted}${answer === "" ? "" : `, ${answer}`}`),
    ...next,
    ...failed,
  );
}

/**
 * @param {HTMLElement[]} items
 * @param {string} none
 */
function orNone(items, none) {
  return items.length > 0 ? items : [element("li", { class: "quiet" }, none)];
}

/** @param {string} instant */
function clock(instant) {
  return new Intl.DateTimeFormat("en", { timeStyle: "medium" }).format(new Date(instant));
}

import { get } from "./api.js";
import { byId, element, showProblem } from "./elements.js";

const SHOWN = 8;
const place = byId("notifications-problem", HTMLElement);
const list = byId("notifications", HTMLElement);

/**
 * Shows the newest notifications of a tenant and of the platform.
 * @param {string} token
 * @param {string | null} tenantId
 */
export async function loadNotifications(token, tenantId) {
  const path = `/v1/notifications?limit=${SHOWN}${tenantId === null ? "" : `&tenantId=${encodeURIComponent(tenantId)}`}`;
  byId("notifications-call", HTMLElement).textContent = `GET ${path}`;
  try {
    /** @type {import("./api.js").NotificationPage} */
    const { data, unread } = await get(path, token);
    showProblem(place, null);
    byId("notifications-unread", HTMLElement).textContent = `${unread} unread`;
    list.replaceChildren(...data.map(item));
  } catch (error) {
    // The earlier list stays on the page, with the error above it.
    showProblem(place, error);
  }
}

/** @param {import("./api.js").Notification} notification */
function item({ id, title, message, type, publishAt }) {
  const time = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" }).format(new Date(publishAt));
  return element(
    "li",
    { "data-notification": id },
    element("code", {}, type),
    element("span", { class: "what" }, `${title}. ${message}`),
    element("span", { class: "quiet" }, time),
  );
}

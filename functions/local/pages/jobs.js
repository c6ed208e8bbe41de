import { get } from "./api.js";
import { byId, element, showProblem } from "./elements.js";

/** @typedef {import("./api.js").Job} Job */

const place = byId("jobs-problem", HTMLElement);
const list = byId("jobs", HTMLElement);

/**
 * Shows the jobs with their last and next run.
 * @param {string} token
 */
export async function loadJobs(token) {
  try {
    /** @type {{ data: Job[] }} */
    const { data } = await get("/v1/jobs", token);
    showProblem(place, null);
    list.replaceChildren(...data.map(item));
  } catch (error) {
    // The earlier list stays on the page, with the error above it.
    showProblem(place, error);
  }
}

/** @param {Job} job */
function item(
  { name, summary, running, nextRunAt, lastFinishedAt, lastDurationMs, lastProcessed, lastError, backlog, overdue, ageSeconds },
) {
  const last = lastFinishedAt === null
    ? "never ran"
    : `ran ${clock(lastFinishedAt)}, ${lastProcessed ?? 0} items in ${lastDurationMs ?? 0} ms`;
  const next = running ? "running" : `next ${clock(nextRunAt)}`;
  const waiting = backlog === null || backlog.count === 0 ? [] : [element("span", {}, `${backlog.count} waiting`)];
  const late = overdue ? [element("span", { "data-failed": "true" }, `overdue: ${ageSeconds} s late`)] : [];
  const failed = lastError === null ? [] : [element("span", { "data-failed": "true" }, `${lastError.code}: ${lastError.message}`)];
  return element(
    "li",
    { "data-job": name },
    element("code", {}, name),
    element("span", { class: "what" }, summary),
    element("span", { class: "quiet" }, last),
    element("span", { class: "quiet" }, next),
    ...waiting,
    ...late,
    ...failed,
  );
}

/** @param {string} instant */
function clock(instant) {
  return new Intl.DateTimeFormat("en", { timeStyle: "medium" }).format(new Date(instant));
}

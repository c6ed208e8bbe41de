import { z } from "zod";
import { OWN_REQUEST_ID } from "./log-lines.ts";
import { Refusal } from "./refusal.ts";

const TIMEOUT_MS = 150_000;

const report = z.object({
  job: z.string(),
  processed: z.number(),
  complete: z.boolean(),
  remaining: z.number().nullable(),
  durationMs: z.number(),
  errors: z.array(z.object({ item: z.string(), code: z.string(), message: z.string() })),
  dryRun: z.boolean(),
});
export type JobReport = z.output<typeof report>;
const problem = z.object({ detail: z.string(), code: z.string().optional() });

/** Another process runs the job. */
export class JobRunning extends Refusal {}

export interface JobsFunction {
  /** Up to and including `/jobs`. */
  readonly url: string;
  readonly secret: string;
  /** Ends a call before its response. The function goes on with it. */
  readonly signal?: AbortSignal;
}

/** Calls the jobs function: one job by its name, or with null every job that is due. Throws a Refusal with the reason of a refusal. */
export async function callJobs({ url, secret, signal }: JobsFunction, name: string | null, dryRun = false): Promise<JobReport[]> {
  const path = `${url}${name === null ? "" : `/${encodeURIComponent(name)}`}${dryRun ? "?dryRun=true" : ""}`;
  const headers = { authorization: `Bearer ${secret}`, "x-request-id": OWN_REQUEST_ID };
  const response = await fetch(path, {
    method: "POST",
    headers,
    signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), ...(signal ? [signal] : [])]),
  }).catch((error: unknown) => {
    throw new Refusal(
      `${url} does not respond (${error instanceof Error ? error.message : String(error)}): start the stack, or check --url`,
    );
  });
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) {
    const { detail, code } = problem.safeParse(body).data ?? { detail: `status ${response.status}` };
    throw new (code === "job_running" ? JobRunning : Refusal)(`${path}: ${detail}`);
  }
  return name === null ? z.object({ data: z.array(report) }).parse(body).data : [report.parse(body)];
}

/** One line about a call of a job. */
export function lineOf({ job, processed, complete, remaining, durationMs, errors, dryRun }: JobReport): string {
  const items = `${processed} ${processed === 1 ? "item" : "items"} in ${(durationMs / 1_000).toFixed(1)} s`;
  const waiting = remaining === null || remaining === 0 ? "" : `, ${remaining} waiting`;
  const failed = errors.map(({ item, code, message }) => `\n    ${item}: ${code}: ${message}`).join("");
  return `${job}: ${items}${waiting}${complete ? "" : ", not complete"}${dryRun ? ", dry run: nothing was changed" : ""}${failed}`;
}

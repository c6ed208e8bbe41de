import process from "node:process";
import { bearerSecret, type Reader, url, WrongValue } from "../../shared/environment-values.ts";
import { peekDataDirectory } from "./data-directory.ts";
import { callJobs, type JobsFunction, lineOf } from "./job-calls.ts";
import { dataDirOf, parse } from "./options.ts";
import { Refusal, runProgram } from "./refusal.ts";

const anUrl = url("https:", "http:");

const HELP = `npm run jobs -- [NAME] [options]     runs the job NAME to its end, or without NAME every job that is due

  --dry-run   report what the job would do, without changing anything
  --url URL   the jobs function, for example https://PROJECT.supabase.co/functions/v1/jobs, with its secret in JOBS_SECRET
              (default: the local stack)
  --data DIR  data directory of the local stack (default: .innkeep)
  -h, --help  print this text

A job runs in calls of limited time. Each call prints a line; the next one continues where it stopped.`;

await runProgram(async () => {
  const [first, ...rest] = process.argv.slice(2);
  const name = first !== undefined && !first.startsWith("-") ? first : null;
  const values = parse(name === null ? process.argv.slice(2) : rest, {
    "dry-run": { type: "boolean", default: false },
    url: { type: "string" },
    data: { type: "string" },
  });
  if (values["help"]) return console.log(HELP);
  const dryRun = values["dry-run"] === true;
  const jobs = await functionOf(values["url"], values["data"]);
  for (;;) {
    const reports = await callJobs(jobs, name, dryRun);
    if (reports.length === 0) return console.log("no job is due");
    for (const report of reports) console.log(lineOf(report));
    const failed = reports.filter(({ complete, errors }) => !complete && errors.length > 0).map(({ job }) => job);
    if (failed.length > 0) throw new Refusal(`failed: ${failed.join(", ")}; the reason is above`);
    if (dryRun || reports.every(({ complete }) => complete)) return;
  }
});

function checked(name: string, read: Reader<string>, text: string): string {
  try {
    return read(text);
  } catch (error) {
    throw error instanceof WrongValue ? new Refusal(`${name} ${error.message}`) : error;
  }
}

async function functionOf(address: string | boolean | undefined, data: string | boolean | undefined): Promise<JobsFunction> {
  if (typeof address !== "string") {
    const { info } = await peekDataDirectory(dataDirOf(data));
    if (!info) throw new Refusal("the stack has not run in this data directory yet: run npm start first, or name a function with --url");
    return { url: `${info.url}/jobs`, secret: info.jobsSecret };
  }
  const secret = process.env["JOBS_SECRET"];
  if (!secret) throw new Refusal("JOBS_SECRET is not set: set it to the secret of the function of --url");
  return { url: checked("--url", anUrl, address).replace(/\/+$/, ""), secret: checked("JOBS_SECRET", bearerSecret, secret) };
}

import { homedir } from "node:os";
import { join, relative, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { ParseArgsConfig } from "node:util";
import { Refusal } from "./refusal.ts";

export const PROJECT_DIR = fileURLToPath(new URL("../../", import.meta.url));
export const DEFAULT_DATA_DIR = resolve(PROJECT_DIR, ".innkeep");

/** A path as a person at this terminal would write it. */
export function shownPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near === "" || near.startsWith("..") ? path : near;
}

export interface StartOptions {
  readonly port: number;
  /** Null: a temporary one (with `ephemeral`). */
  readonly dataDir: string | null;
  readonly ephemeral: boolean;
  readonly seed: "demo" | "none";
}

export const START_HELP = `npm start -- [options]     the whole stack: PostgreSQL, migrations, demo data, the API under Deno

  --port N         where the API listens on 127.0.0.1 (8787)
  --data DIR       data directory (.innkeep)
  --ephemeral      keep nothing: a temporary data directory, or the empty DIR of --data, removed at the end
  --seed demo|none 12 hotels with six months of usage (demo), or only plans and administrators (none)
  -h, --help       this text

DATABASE_URL in the environment names another PostgreSQL (15 or newer) to use instead of the embedded one.
DIR/local.json says where everything is and holds a token for each role.`;

/** Answers null when help was asked for. */
export function parseStartOptions(args: readonly string[]): StartOptions | null {
  const values = parse(args, {
    port: { type: "string", default: "8787" },
    data: { type: "string" },
    ephemeral: { type: "boolean", default: false },
    seed: { type: "string", default: "demo" },
  });
  if (values["help"]) return null;
  const { port, data, ephemeral, seed } = values;
  if (typeof port !== "string" || !/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) {
    throw new Refusal(`--port must be a number from 1 to 65535, not ${String(port)}`);
  }
  if (seed !== "demo" && seed !== "none") throw new Refusal(`--seed must be demo or none, not ${String(seed)}`);
  const dataDir = data === undefined && ephemeral ? null : dataDirOf(data);
  return { port: Number(port), dataDir, ephemeral: ephemeral === true, seed };
}

export type OptionValues = Readonly<Record<string, string | boolean | undefined>>;

/** The directory that --data names; `~` is the home there too, which a shell leaves as it is in `--data=~/x`. */
export function dataDirOf(given: string | boolean | undefined): string {
  if (typeof given !== "string") return DEFAULT_DATA_DIR;
  if (given === "") throw new Refusal("--data must name a directory; left out, it is .innkeep in the project");
  return given === "~" || given.startsWith("~/") ? join(homedir(), given.slice(1)) : resolve(given);
}

type OptionKinds = NonNullable<ParseArgsConfig["options"]>;

/** `node:util` parseArgs with our words for its errors; every program takes -h and --help. */
export function parse(args: readonly string[], options: OptionKinds): OptionValues {
  const known: OptionKinds = { ...options, help: { type: "boolean", short: "h", default: false } };
  try {
    return parseArgs({ args: joinNegative(args, known), options: known, strict: true, allowPositionals: false }).values as OptionValues;
  } catch (error) {
    const message = error instanceof Error ? error.message.split(/[.\n]/)[0] : String(error);
    throw new Refusal(`${message}; see --help`);
  }
}

/** `--port -1` as `--port=-1`: a negative number is a value, and the option's own check then speaks of it. */
function joinNegative(args: readonly string[], options: OptionKinds): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const option = joined.at(-1);
    if (/^-\d/.test(arg) && option?.startsWith("--") && options[option.slice(2)]?.type === "string") {
      joined.splice(-1, 1, `${option}=${arg}`);
    } else joined.push(arg);
  }
  return joined;
}

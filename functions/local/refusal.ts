import process from "node:process";
import { Stopped } from "./stop-signal.ts";
import { systemErrorMessage } from "./system-errors.ts";

/** An error that is printed as its message only, without a stack. The message says what is wrong and what to do. */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

/** What to do about a SQLSTATE that the configuration or other sessions cause, not the program. */
const ADVICE: Readonly<Record<string, string>> = {
  "25006": "the database is read-only: connect to the primary",
  "3D000": "create the database first, for example with createdb",
  "40P01": "other sessions hold the locks: run the command again when the database is less busy",
  "42501": "the login of DATABASE_URL may not do this: migrate as the owner of the database; docs/operations.md lists the rights it needs",
  "42704": "create the roles first; docs/operations.md has the statements",
  "53100": "the disk of the database is full: free some space",
  "55P03": "other sessions hold the locks: run the command again when the database is less busy",
  "57P01": "an administrator ended this session: run the command again",
};

/**
 * Runs a command line program. An expected error is printed as one line to stderr, with exit code 1. A requested stop is
 * exit code 130.
 */
export async function runProgram(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (error instanceof Stopped) process.exit(130);
    const message = expectedMessage(error);
    console.error(message === null ? error : `innkeep: ${message}`);
    process.exit(1);
  }
}

/** The message of an expected error. Null for a fault of the program, which is printed with its stack. */
function expectedMessage(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  if (error instanceof Refusal) return error.message;
  if (error.name === "InnkeepError") return error.cause instanceof Error ? `${error.message} (${rootOf(error).message})` : error.message;
  if (!("severity" in error) || !("code" in error)) return systemErrorMessage(error);
  const advice = ADVICE[String(error.code)];
  return advice ? `${error.message} (SQLSTATE ${String(error.code)}): ${advice}` : null;
}

/** The first cause: the error of the database or the network. */
function rootOf(error: Error): Error {
  return error.cause instanceof Error ? rootOf(error.cause) : error;
}

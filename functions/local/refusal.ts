import process from "node:process";

/** A message for the person at the terminal: printed alone, without a stack. */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

/** Runs a command line program: a refusal is one line on stderr and exit code 1. */
export async function runProgram(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Refusal || isExpected(error) ? `innkeep: ${error.message}` : error);
    process.exitCode = 1;
  }
}

/** An InnkeepError's message is written for people as well. */
function isExpected(error: unknown): error is Error {
  return error instanceof Error && error.name === "InnkeepError";
}

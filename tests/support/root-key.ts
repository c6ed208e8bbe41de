/** The root key of the tests' processes, and its form in the environment. */
export const ROOT_KEY = new Uint8Array(32).fill(7);
export const ROOT_KEY_TEXT = Buffer.from(ROOT_KEY).toString("base64");

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll } from "vitest";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const CHROMIUM = (process.env["PATH"] ?? "").split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name))).find(existsSync);

/** The reason why the browser tests are skipped, or null. */
export const noBrowser = CHROMIUM === undefined ? `no ${NAMES.join(", ")} on the PATH (apt-get install chromium)` : null;
if (noBrowser !== null) console.info(`what a browser shows is not tested here: ${noBrowser}`);

/** An open page, with its requests and error messages. */
export interface Visit {
  readonly page: Page;
  /** Errors and warnings of the console, uncaught errors, and violations of the content security policy. */
  readonly complaints: string[];
  /** The hosts that the page requested. */
  readonly hosts: ReadonlySet<string>;
  /** Whether the content is wider than the window. */
  overflows(): Promise<boolean>;
}

export interface Visitor {
  visit(url: string, options?: BrowserContextOptions): Promise<Visit>;
}

/** Starts one Chromium for a test file, with a new profile for each visit. */
export function useChromium(): Visitor {
  let browser: Browser | undefined;
  beforeAll(async () => {
    if (CHROMIUM === undefined) return;
    // Chromium's sandbox does not work for root.
    const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    browser = await chromium.launch({ executablePath: CHROMIUM, args });
  });
  afterEach(async () => {
    for (const context of browser?.contexts() ?? []) await context.close();
  });
  afterAll(async () => {
    await browser?.close();
  });
  return {
    async visit(url, options = {}) {
      if (!browser) throw new Error("there is a browser from beforeAll on");
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
      const page = await context.newPage();
      const visit = watch(page);
      await page.goto(url);
      return visit;
    },
  };
}

function watch(page: Page): Visit {
  const complaints: string[] = [];
  const hosts = new Set<string>();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== "data:") hosts.add(host);
  });
  const overflows = () => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  return { page, complaints, hosts, overflows };
}

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { signatureHeaders } from "../../../shared/features/webhooks/signature.ts";
import { read } from "../../architecture/sources.ts";

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const OTHER = `whsec_${Buffer.alloc(24, 9).toString("base64")}`;
const NOW_MS = Date.parse("2026-01-01T00:00:00.000Z");
const BODY = '{"id":"evt_1","data":{"name":"Zürich 🏨"}}';
const ID = "evt_1767225600000_a1b2c3d4e5f6";

interface Case {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const bytes = (text: string) => new TextEncoder().encode(text);

/** Requests by what they are, and whether a receiver with `SECRET` accepts them at `NOW_MS`. */
async function requests(): Promise<readonly (readonly [what: string, request: Case, accepted: boolean])[]> {
  const signed = async (timestampMs = NOW_MS, secrets = [SECRET], body = BODY): Promise<Case> => ({
    headers: await signatureHeaders({ id: ID, timestampMs, body: bytes(body) }, secrets),
    body,
  });
  const valid = await signed();
  const without = (name: string): Case => ({
    ...valid,
    headers: Object.fromEntries(Object.entries(valid.headers).filter(([each]) => each !== name)),
  });
  const having = (headers: Readonly<Record<string, string>>): Case => ({ ...valid, headers: { ...valid.headers, ...headers } });
  const signature = valid.headers["webhook-signature"] ?? "";
  const official = { "webhook-id": ID, "webhook-timestamp": String(NOW_MS / 1_000) };
  return [
    ["a signed one", valid, true],
    [
      "one that the official package signed",
      having({ ...official, "webhook-signature": new Webhook(SECRET).sign(ID, new Date(NOW_MS), BODY) }),
      true,
    ],
    ["one during a rotation", await signed(NOW_MS, [OTHER, SECRET]), true],
    ["one with a signature of another kind, too", having({ "webhook-signature": `v1a,AAAA ${signature}` }), true],
    ["one that is five minutes old", await signed(NOW_MS - 300_000), true],
    ["one that is older", await signed(NOW_MS - 301_000), false],
    ["one that is from the future", await signed(NOW_MS + 302_000), false],
    ["one with another secret", await signed(NOW_MS, [OTHER]), false],
    ["one with another body", { ...valid, body: BODY.replace("evt_1", "evt_2") }, false],
    ["one with a body that was written again", { ...valid, body: JSON.stringify(JSON.parse(BODY), null, 1) }, false],
    ["one with another id", having({ "webhook-id": "evt_2" }), false],
    ["one with another timestamp", having({ "webhook-timestamp": String(NOW_MS / 1_000 + 1) }), false],
    ["one without an id", without("webhook-id"), false],
    ["one without a timestamp", without("webhook-timestamp"), false],
    ["one without a signature", without("webhook-signature"), false],
    ["one with an empty signature", having({ "webhook-signature": "v1," }), false],
    ["one with half a signature", having({ "webhook-signature": signature.slice(0, 20) }), false],
    ["one with a signature of another version", having({ "webhook-signature": signature.replace("v1,", "v2,") }), false],
    ["one with a timestamp that is no number", having({ "webhook-timestamp": "NaN" }), false],
    ["one with a timestamp of 400 digits", having({ "webhook-timestamp": "9".repeat(400) }), false],
    ["one with a negative timestamp", having({ "webhook-timestamp": "-1" }), false],
  ];
}

/** The program in a language on the page. */
function programOf(language: string): string {
  const code = new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(read("docs/webhooks.md"))?.[1];
  if (code === undefined) throw new Error(`docs/webhooks.md has no program in ${language}`);
  return code;
}

let directory: string;
beforeAll(async () => void (directory = await mkdtemp(join(tmpdir(), "receivers-"))));
afterAll(() => rm(directory, { recursive: true, force: true }));

describe("the receivers of docs/webhooks.md", () => {
  test("W02: the one in TypeScript accepts what is signed, and nothing else", async () => {
    await writeFile(join(directory, "verify.ts"), programOf("ts"));
    const { verifyWebhook } = await import(join(directory, "verify.ts")) as {
      verifyWebhook(secret: string, headers: Headers, body: Uint8Array, nowMs?: number): void;
    };
    for (const [what, { headers, body }, accepted] of await requests()) {
      const verify = () => verifyWebhook(SECRET, new Headers(headers), bytes(body), NOW_MS);
      if (accepted) expect(verify, what).not.toThrow();
      else expect(verify, what).toThrow(/^(The timestamp is missing, or|No signature is valid)/);
    }
    const fresh = await signatureHeaders({ id: ID, timestampMs: Date.now(), body: bytes(BODY) }, [SECRET]);
    expect(() => verifyWebhook(SECRET, new Headers(fresh), bytes(BODY))).not.toThrow();
  });

  test("W02: the one in Python accepts what is signed, and nothing else", async (context) => {
    const version = await promisify(execFile)("python3", ["--version"]).catch(() => null);
    if (!version) return context.skip("python3 is not installed");
    const cases = await requests();
    await writeFile(join(directory, "verify.py"), programOf("python"));
    await writeFile(join(directory, "cases.json"), JSON.stringify(cases.map(([, request]) => request)));
    const harness = `
import json
from verify import verify_webhook

def outcome(case):
    try:
        verify_webhook("${SECRET}", case["headers"], case["body"].encode(), ${NOW_MS / 1_000})
        return True
    except ValueError:
        return False

with open("cases.json", encoding="utf-8") as file:
    print(json.dumps([outcome(case) for case in json.load(file)]))
`;
    const { stdout } = await promisify(execFile)("python3", ["-c", harness], { cwd: directory });
    const accepted = JSON.parse(stdout) as boolean[];
    expect(cases.map(([what], i) => [what, accepted[i]])).toEqual(cases.map(([what, , expected]) => [what, expected]));
  });

  test("W02: the one in Go accepts what is signed, and nothing else", async (context) => {
    const version = await promisify(execFile)("go", ["version"]).catch(() => null);
    if (!version) return context.skip("go is not installed");
    const cases = await requests();
    const folder = join(directory, "go");
    await mkdir(folder);
    await writeFile(join(folder, "verify.go"), programOf("go").replace("package webhooks", "package main"));
    await writeFile(join(folder, "cases.json"), JSON.stringify(cases.map(([, request]) => request)));
    const harness = `package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	var cases []struct {
		Headers map[string]string
		Body    string
	}
	content, _ := os.ReadFile("cases.json")
	if err := json.Unmarshal(content, &cases); err != nil {
		panic(err)
	}
	accepted := []bool{}
	for _, each := range cases {
		header := http.Header{}
		for name, value := range each.Headers {
			header.Set(name, value)
		}
		accepted = append(accepted, Verify("${SECRET}", header, []byte(each.Body), time.UnixMilli(${NOW_MS})) == nil)
	}
	output, _ := json.Marshal(accepted)
	fmt.Println(string(output))
}
`;
    await writeFile(join(folder, "main.go"), harness);
    const env = { ...process.env, GOCACHE: join(directory, "go-cache"), GO111MODULE: "off" };
    const { stdout } = await promisify(execFile)("go", ["run", "main.go", "verify.go"], { cwd: folder, env });
    const accepted = JSON.parse(stdout) as boolean[];
    expect(cases.map(([what], i) => [what, accepted[i]])).toEqual(cases.map(([what, , expected]) => [what, expected]));
  });

  test("W02: the official package accepts what Innkeep signs", async () => {
    const headers = await signatureHeaders({ id: ID, timestampMs: Date.now(), body: bytes(BODY) }, [OTHER, SECRET]);
    expect(new Webhook(SECRET).verify(BODY, headers)).toEqual(JSON.parse(BODY));
    expect(() => new Webhook(`whsec_${Buffer.alloc(32, 8).toString("base64")}`).verify(BODY, headers)).toThrow();
  });
});

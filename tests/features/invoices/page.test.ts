import { expect, test } from "vitest";
import { read } from "../../architecture/sources.ts";
import { useApi } from "../../http/support/api.ts";

const api = useApi();

/** One `http` block of docs/billing.md: a request, and after a blank line the status and members of the response. */
interface Example {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly status: number;
  readonly expected: string;
}

function examples(): Example[] {
  return [...read("docs/billing.md").matchAll(/^```http\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => {
    const [request = "", response = ""] = text.split("\n\n");
    const [line = "", ...body] = request.split("\n");
    const [status, ...expected] = response.split("\n");
    const [method = "", path = ""] = line.split(" ");
    return { method, path, body: body.join("\n"), status: Number(status), expected: expected.join("\n") };
  });
}

test("B14: the examples of docs/billing.md return what the page says", async () => {
  const { id } = await api.tenant();
  const known = new Map([["$TENANT", id]]);
  const filled = (text: string) => [...known].reduce((filled, [name, value]) => filled.replaceAll(name, value), text);
  const all = examples();
  expect(all.length).toBeGreaterThan(6);
  for (const { method, path, body, status, expected } of all) {
    const json = body === "" ? {} : { json: JSON.parse(filled(body)) as unknown };
    const answer = await api.send(method, filled(path), { token: api.admin("admin"), ...json });
    expect(answer.status, answer.text).toBe(status);
    // A name that is not known yet is the id of what was created.
    const [name] = /(?<="id": ")\$[A-Z]+/.exec(expected) ?? [];
    if (name !== undefined && !known.has(name)) known.set(name, answer.body.id as string);
    expect(answer.body).toMatchObject(JSON.parse(filled(expected)) as Record<string, unknown>);
  }
});

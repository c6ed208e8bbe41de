import canonicalize from "canonicalize";
import { Collection, type Stored } from "../../core/collection.ts";
import { notesOf } from "../../core/notes.ts";
import { Records } from "../../core/records.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { removalOf } from "../tenants/removal.ts";
import { tenant } from "../tenants/entity.ts";
import { isUnderLegalHold } from "../tenants/rules.ts";
import { type ComplianceRequest, complianceRequest, type DeletionCertificate, deletionCertificate } from "./entity.ts";
import { groundsOf, recordsLeft } from "./inventory.ts";
import { held, isOpen, moved } from "./rules.ts";

const PURPOSE = "deletion certificate";

type StoredRequest = Stored<typeof complianceRequest>;
type StoredCertificate = Stored<typeof deletionCertificate>;

/** The steps of a deletion. Each is one commit, so that a process that ends between two of them is followed by the next step. */
export class DeletionSteps {
  readonly #requests: Records<typeof complianceRequest>;
  readonly #tenants: Collection<typeof tenant>;
  readonly #certificates: Collection<typeof deletionCertificate>;

  constructor(private readonly work: UnitOfWork) {
    this.#requests = new Records(complianceRequest, work);
    this.#tenants = new Collection(tenant, work.store);
    this.#certificates = new Collection(deletionCertificate, work.store);
  }

  /** Makes the next step of an open request whose grace period is over. */
  async next(request: StoredRequest): Promise<void> {
    const owner = await this.#tenants.get(request.tenantId);
    if (!owner) return;
    if (isUnderLegalHold(owner)) return await this.#hold(request);
    if (request.status === "pending") return await this.#start(request);
    await this.#delete(request, owner);
  }

  /** Counts what is left of the tenant, and signs the counts before and after, unless that was done. */
  async certify(id: string): Promise<void> {
    const certificate = await this.#certificates.get(id);
    if (certificate?.status === "unsigned") await this.#sign(certificate);
  }

  async #hold(request: StoredRequest): Promise<void> {
    await this.#requests.change(this.#requests.keyOfRecord(request), {}, "compliance-request.held", (now) => (
      { record: isOpen(now) ? held(now, this.work.context.clock.now()) : now }
    ));
  }

  async #start(request: StoredRequest): Promise<void> {
    await this.#requests.change(this.#requests.keyOfRecord(request), {}, "compliance-request.started", (now) => {
      if (!isOpen(now)) return { record: now };
      const { heldSince: _, ...released } = now;
      return { record: moved(released as ComplianceRequest, "processing", { progress: 50 }, this.work.now()) };
    });
  }

  /** Everything of the tenant goes in one commit, which completes the request and leaves the certificate to be signed. */
  async #delete(before: StoredRequest, owner: Stored<typeof tenant>): Promise<void> {
    await this.work.transact(() => {
      const now = this.work.now();
      const { version: _, ...request } = before;
      const certificateId = this.work.newId("cert");
      const after = { ...moved(request as ComplianceRequest, "completed", {}, now), certificateId, updatedAt: now };
      const change: Change = { entity: complianceRequest, before, after };
      const { audit, event } = notesOf("compliance-request.completed", before.id, change);
      const certificate: DeletionCertificate = {
        id: certificateId,
        requestId: before.id,
        deletedTenant: owner.id,
        status: "unsigned",
        requestedBy: before.requestedBy,
        requestedAt: before.created,
        deletedAt: now,
      };
      const removal = removalOf(owner);
      const noted = removal.audit === "none" ? [] : removal.audit;
      return {
        commit: {
          ...removal,
          changes: [change],
          checks: [...removal.checks ?? [], { key: this.#certificates.keyOfRecord(certificate), version: null }],
          mutations: [...removal.mutations ?? [], { ...this.#certificates.set(certificate), receipt: true }],
          audit: [audit, ...noted],
          events: [event, ...removal.events ?? []],
          attempts: 1,
          result: {},
        },
        resultOf: null,
      };
    });
  }

  async #sign(before: StoredCertificate): Promise<void> {
    const [left, grounds] = await Promise.all([recordsLeft(this.work, before.deletedTenant), groundsOf(this.work)]);
    const deleted = before.receipt?.deleted ?? {};
    const records = left.map(({ entity, after, kept }) => ({
      entity: entity.name,
      pattern: entity.key,
      // The commit deleted the request itself too, and wrote it again.
      before: (deleted[entity.name] ?? 0) + kept - (entity.name === complianceRequest.name ? 1 : 0),
      after,
      kept,
      ...(kept > 0 ? { ground: grounds(entity) } : {}),
    }));
    await this.work.transact(async () => {
      const { version: _, receipt: _receipt, ...unsigned } = before;
      const counted = { ...unsigned, status: "signed", records, signedAt: this.work.now() } as DeletionCertificate;
      const after = { ...counted, signature: await this.work.platform.secrets.sign(PURPOSE, signedText(counted)) };
      const change: Change = { entity: deletionCertificate, before, after };
      const { audit, event } = notesOf("deletion-certificate.signed", before.id, change);
      return { commit: { changes: [change], audit: [audit], events: [event], attempts: 1, result: {} }, resultOf: null };
    });
  }
}

/** Whether the certificate is as the platform signed it. */
export async function isSigned({ platform }: UnitOfWork, { signature, ...certificate }: DeletionCertificate): Promise<boolean> {
  return signature !== undefined && await platform.secrets.isSigned(PURPOSE, signedText(certificate as DeletionCertificate), signature);
}

function signedText(certificate: DeletionCertificate): string {
  const { id, requestId, deletedTenant, requestedBy, requestedAt, deletedAt, signedAt, records } = certificate;
  return canonicalize({ id, requestId, deletedTenant, requestedBy, requestedAt, deletedAt, signedAt, records }) ?? "";
}

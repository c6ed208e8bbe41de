-- Written by `npm run schema` from the declarations.

-- domain-claim: The tenant that holds a custom domain.
select kv.add_family('domain');
select kv.add_entity('domain-claim', 'domain', 1, owner_rule => 'given');

-- sign-up: Says that a tenant was created on a day. It counts as a sign-up of that day also after the tenant was deleted.
select kv.add_family('signup');
select kv.add_entity('sign-up', 'signup', 2, owner_rule => 'platform');
select kv.add_rollup('sign-up', '{day}');

-- subdomain-claim: The tenant that holds a subdomain label.
select kv.add_family('subdomain');
select kv.add_entity('subdomain-claim', 'subdomain', 1, owner_rule => 'given');

-- tenant: A customer of the platform.
select kv.add_family('tenant');
select kv.add_entity('tenant', 'tenant', 1, owner_rule => 'segment');
select kv.add_index('tenant', fields) from unnest(array[
  'createdAt time', 'name text', 'subdomain text', 'mrr number', 'usagePercent number', 'owner text', 'trialEndsAt time',
  'status text, createdAt time', 'status text, name text', 'status text, mrr number', 'plan text, createdAt time', 'plan text, name text',
  'plan text, mrr number', 'region text, createdAt time', 'status text, plan text, createdAt time', 'status text, plan text, mrr number',
  'ownerUserId text', 'search(name, subdomain, owner, ownerName)'
]) fields;
select kv.add_rollup('tenant', '{status, plan}', sum => 'mrr');

-- plan: What a tenant can subscribe to: price, limits, features.
select kv.add_family('plan');
select kv.add_entity('plan', 'plan', 1, owner_rule => 'platform', tenant_readable => true);
select kv.add_index('plan', fields) from unnest(array[
  'createdAt time', 'name text', 'price number', 'search(name, displayName, description)'
]) fields;

-- plan-version: The price, limits and features that a plan had. It is never changed, and subscribers keep the version they were sold.
select kv.add_family('planversion');
select kv.add_entity('plan-version', 'planversion', 2, owner_rule => 'platform', tenant_readable => true);
select kv.add_index('plan-version', fields) from unnest(array[
  'planId text, n number', 'createdAt time'
]) fields;

-- subscription: The subscription of a tenant to a plan.
select kv.add_family('subscription');
select kv.add_entity('subscription', 'subscription', 1, owner_rule => 'segment');
select kv.add_index('subscription', fields) from unnest(array[
  'planId text, planVersion number', 'status text, currentPeriodEnd time', 'nextBillingAt time'
]) fields;
select kv.add_rollup('subscription', '{status}');

-- metric: A kind of usage that is metered. A gauge is a level and carries over to the next month; a counter starts at zero each month.
select kv.add_family('metric');
select kv.add_entity('metric', 'metric', 1, owner_rule => 'platform', tenant_readable => true);
select kv.add_index('metric', fields) from unnest(array[
  'createdAt time', 'name text', 'search(name, description)'
]) fields;

-- usage-change: Says that usage of a tenant in a month changed, so that the job `usage` finds it.
select kv.add_family('usagechange');
select kv.add_entity('usage-change', 'usagechange', 2, owner_rule => 'segment');
select kv.add_index('usage-change', 'until time');

-- usage-level: A copy of one metric's usage of a tenant in a month, at most a minute old, by which all tenants are sorted and summed.
select kv.add_family('usagelevel');
select kv.add_entity('usage-level', 'usagelevel', 3, owner_rule => 'segment');
select kv.add_index('usage-level', fields) from unnest(array[
  'metric text, period text, percentage number', 'metric text, period text, current number', 'period text, percentage number',
  'tenantId text, period text', 'updatedAt time'
]) fields;
select kv.add_rollup('usage-level', '{metric, period}', sum => 'current');

-- usage-month: The month that the percentages of all tenants stand for. In another month, the job `usage` computes them again.
select kv.add_family('usagemonth');
select kv.add_entity('usage-month', 'usagemonth', 1, owner_rule => 'platform');

-- usage-record: One metric of one tenant in one month.
select kv.add_family('usage', 75);
select kv.add_entity('usage-record', 'usage', 3, owner_rule => 'segment');

-- alert: Usage of a metric reached a percentage of its limit. There is one for each metric, month and threshold.
select kv.add_family('alert');
select kv.add_entity('alert', 'alert', 2, owner_rule => 'segment');
select kv.add_index('alert', fields) from unnest(array[
  'owner, triggeredAt time', 'openUntil time', 'resolvedAt time'
]) fields;
select kv.add_rollup('alert', '{openUntil}');

-- notification: A message to the users of a tenant, or of all tenants.
select kv.add_family('notification');
select kv.add_entity('notification', 'notification', 2, owner_rule => 'segment', tenant_readable => true);
select kv.add_index('notification', fields) from unnest(array[
  'tenantId text, publishAt time', 'tenantId text, expiresAt time', 'id text', 'expiresAt time'
]) fields;

-- notification-preferences: The categories of notifications that one user of one tenant has muted, by channel.
select kv.add_family('inbox', 75);
select kv.add_entity('notification-preferences', 'inbox', 3, owner_rule => 'segment');
select kv.add_index('notification-preferences', fields, colons => 3) from unnest(array[
  'updatedAt time', 'userId text'
]) fields;

-- notification-reads: What one user of one tenant has read: an instant up to which, and single notifications after it.
select kv.add_entity('notification-reads', 'inbox', 2, owner_rule => 'segment');
select kv.add_index('notification-reads', fields, colons => 2) from unnest(array[
  'updatedAt time', 'userId text'
]) fields;

-- notification-revision: Counts the changes of the notifications of one tenant, or of the platform. A cached unread count belongs to one revision.
select kv.add_entity('notification-revision', 'inbox', 1, owner_rule => 'segment', tenant_readable => true);

-- email: A notification for one user by e-mail. Its text and address are read when it is sent.
select kv.add_family('email');
select kv.add_entity('email', 'email', 1, owner_rule => 'given');
select kv.add_index('email', fields) from unnest(array[
  'createdAt time', 'dueAt time', 'status text, createdAt time', 'tenantId text, createdAt time', 'userId text'
]) fields;

-- email-address: The address to which one user of one tenant wants notifications.
select kv.add_family('emailaddress');
select kv.add_entity('email-address', 'emailaddress', 2, owner_rule => 'segment');
select kv.add_index('email-address', fields) from unnest(array[
  'tenantId text', 'subject text', 'address text'
]) fields;

-- mailing: A notification whose mails are not all made yet, and how far the job has come.
select kv.add_family('mailing');
select kv.add_entity('mailing', 'mailing', 2, owner_rule => 'segment');
select kv.add_index('mailing', 'dueAt time');

-- reservation: An amount of a metric that is held for a caller until it commits the amount that it used, releases it, or lets it expire.
select kv.add_family('reservation');
select kv.add_entity('reservation', 'reservation', 2, owner_rule => 'segment');
select kv.add_index('reservation', fields) from unnest(array[
  'owner, createdAt time', 'owner, status text, expiresAt time', 'status text, expiresAt time', 'endedAt time'
]) fields;

-- usage-event: A usage event that was received. It is written in the commit that counts it, and makes a repeat of it a duplicate.
select kv.add_family('usageevent');
select kv.add_entity('usage-event', 'usageevent', 1, owner_rule => 'given');
select kv.add_index('usage-event', fields) from unnest(array[
  'owner, time time', 'owner, metric text, time time', 'receivedAt time', 'userId text'
]) fields;

-- usage-groups: The usage events of one metric of one tenant in one month, summed by the values of each dimension.
select kv.add_family('usagegroups', 75);
select kv.add_entity('usage-groups', 'usagegroups', 3, owner_rule => 'segment');

-- closing: A month that is closed: its usage above the limits is billed.
select kv.add_family('closing');
select kv.add_entity('closing', 'closing', 1, owner_rule => 'platform');
select kv.add_index('closing', fields) from unnest(array[
  'period text', 'createdAt time'
]) fields;

-- audit-entry: A record of a change: the action, the actor and the resource. Append-only and hash-chained.
select kv.add_family('audit');
select kv.add_entity('audit-entry', 'audit', 5, owner_rule => 'segment', cascades => false, append_only => true);
select kv.add_entity('audit-entry', 'audit', 4, owner_rule => 'platform', cascades => false, append_only => true);
select kv.add_index('audit-entry', fields) from unnest(array[
  'owner, seq number', 'timestamp time', 'owner, timestamp time', 'resource text, resourceId text, timestamp time',
  'action text, timestamp time', 'userId text, timestamp time', 'userEmail text, timestamp time'
]) fields;

-- checkpoint: The hash of one entry of an audit chain, signed and stored apart from the chain.
select kv.add_family('checkpoint');
select kv.add_entity('checkpoint', 'checkpoint', 2, owner_rule => 'given', cascades => false);

-- personal-key: A key of one person, with which audit entries hold the person's data. Its deletion erases that data.
select kv.add_family('personalkey');
select kv.add_entity('personal-key', 'personalkey', 1, owner_rule => 'platform');
select kv.add_index('personal-key', fields) from unnest(array[
  'person text, createdAt time', 'emailHash text, createdAt time', 'createdAt time'
]) fields;

-- audit-export: An export of audit entries to a file, which a job writes.
select kv.add_family('auditexport');
select kv.add_entity('audit-export', 'auditexport', 1, owner_rule => 'given');
select kv.add_index('audit-export', fields, colons => 1) from unnest(array[
  'createdAt time', 'owner, createdAt time', 'status text, createdAt time', 'requestedBy text', 'actorEmail text'
]) fields;

-- open-audit-exports: The exports of one tenant, or of the platform, that may not have ended. Every new one changes it, so none exceeds the limit.
select kv.add_entity('open-audit-exports', 'auditexport', 2, owner_rule => 'segment');

-- audit-action: An action of the platform's own product that its services report to the audit log.
select kv.add_family('auditaction');
select kv.add_entity('audit-action', 'auditaction', 1, owner_rule => 'platform', tenant_readable => true);
select kv.add_index('audit-action', 'search(id, description)');

-- audit-receipt: Marks an entry that a service has reported, so that it is written once.
select kv.add_family('auditreceipt');
select kv.add_entity('audit-receipt', 'auditreceipt', 2, owner_rule => 'segment');
select kv.add_entity('audit-receipt', 'auditreceipt', 1, owner_rule => 'platform');
select kv.add_index('audit-receipt', 'receivedAt time');

-- audit-sink: A receiver, such as a SIEM, to which audit entries are sent.
select kv.add_family('auditsink');
select kv.add_entity('audit-sink', 'auditsink', 1, owner_rule => 'platform');
select kv.add_index('audit-sink', fields) from unnest(array[
  'createdAt time', 'dueAt time', 'search(name, url)'
]) fields;

-- admin: An administrator of the platform. `userId` is the user's Supabase Auth id.
select kv.add_family('admin');
select kv.add_entity('admin', 'admin', 1, owner_rule => 'platform');
select kv.add_index('admin', fields) from unnest(array[
  'createdAt time', 'email text', 'name text', 'role text', 'userId text', 'search(email, name)'
]) fields;

-- platform-settings: The settings of the platform. A setting that was never changed has its default.
select kv.add_family('platform');
select kv.add_entity('platform-settings', 'platform', 1, owner_rule => 'platform');
select kv.add_index('platform-settings', 'updatedBy text');

-- settings-change: One change of the platform's settings: who made it, and the settings before and after.
select kv.add_family('settings');
select kv.add_entity('settings-change', 'settings', 1, owner_rule => 'platform');
select kv.add_index('settings-change', fields) from unnest(array[
  'number number', 'createdAt time', 'changedBy text, number number'
]) fields;

-- private-metadata: What the platform notes of a tenant. No caller of the tenant sees it, nor its changes.
select kv.add_family('private');
select kv.add_entity('private-metadata', 'private', 1, owner_rule => 'segment');

-- counter: The last number of a series without gaps, such as the invoices of a year.
select kv.add_family('counter', 75);
select kv.add_entity('counter', 'counter', 1, owner_rule => 'platform');

-- credit-note: An amount by which an invoice is reduced. It is never changed.
select kv.add_family('creditnote');
select kv.add_entity('credit-note', 'creditnote', 2, owner_rule => 'segment', cascades => false);
select kv.add_index('credit-note', fields) from unnest(array[
  'owner, issuedAt time', 'issuedAt time'
]) fields;

-- invoice: What a tenant owes for a period. Its amounts never change; a credit note corrects them.
select kv.add_family('invoice');
select kv.add_entity('invoice', 'invoice', 2, owner_rule => 'segment', cascades => false);
select kv.add_index('invoice', fields) from unnest(array[
  'owner, issuedAt time', 'status text, dueDate time', 'issuedAt time'
]) fields;

-- movement: A change of the monthly recurring revenue. All movements of all tenants sum to the present revenue.
select kv.add_family('movement');
select kv.add_entity('movement', 'movement', 5, owner_rule => 'segment');
select kv.add_rollup('movement', '{month, kind}', sum => 'amount');

-- entitlements: What decides on a tenant's features and limits: the terms that it was sold, its grants, and whether it is active.
select kv.add_family('entitlements');
select kv.add_entity('entitlements', 'entitlements', 1, owner_rule => 'segment');
select kv.add_index('entitlements', 'nextExpiryAt time');

-- grant: A feature or limit that a tenant has beside its plan, or that an override takes away.
select kv.add_family('grant');
select kv.add_entity('grant', 'grant', 2, owner_rule => 'segment');
select kv.add_index('grant', fields) from unnest(array[
  'owner, createdAt time', 'kind text, key text', 'expiresAt time'
]) fields;

-- plan-migration: A move of existing subscribers to another version of their plan, or to another plan.
select kv.add_family('planmigration');
select kv.add_entity('plan-migration', 'planmigration', 1, owner_rule => 'platform');
select kv.add_index('plan-migration', fields) from unnest(array[
  'status text, createdAt time', 'createdAt time'
]) fields;

-- plan-move: A subscriber in a plan migration: whether it was moved, and why not.
select kv.add_family('planmove');
select kv.add_entity('plan-move', 'planmove', 2, owner_rule => 'platform');
select kv.add_index('plan-move', fields) from unnest(array[
  'migrationId text, status text, createdAt time', 'createdAt time'
]) fields;

-- policy: How long the records of one entity are kept, instead of the declared time: all, those of one tenant, or of the tenants of a plan.
select kv.add_family('policy');
select kv.add_entity('policy', 'policy', 1, owner_rule => 'platform');
select kv.add_index('policy', 'createdAt time');

-- retention-run: What a run of the cleanup that is not complete has deleted by one rule. Each deletion changes it in its commit.
select kv.add_family('retentionrun');
select kv.add_entity('retention-run', 'retentionrun', 3, owner_rule => 'platform');

-- compliance-request: A request of a data subject or tenant under data protection law, and how it was handled.
select kv.add_family('compliance');
select kv.add_entity('compliance-request', 'compliance', 2, owner_rule => 'segment');
select kv.add_index('compliance-request', fields) from unnest(array[
  'owner, created time', 'status text, runAt time', 'created time', 'id text', 'updatedAt time', 'requestedBy text', 'requestedByEmail text'
]) fields;

-- deletion-certificate: What the deletion of a tenant by a request has removed and kept, signed. It belongs to the platform and outlives the tenant.
select kv.add_family('certificate');
select kv.add_entity('deletion-certificate', 'certificate', 1, owner_rule => 'platform');
select kv.add_index('deletion-certificate', fields) from unnest(array[
  'deletedAt time', 'deletedTenant text, deletedAt time', 'status text, deletedAt time', 'requestedBy text'
]) fields;

-- export-run: Where the export of a compliance request stands. It is deleted when the export is complete.
select kv.add_family('exportrun');
select kv.add_entity('export-run', 'exportrun', 2, owner_rule => 'segment');

-- held-person: A user or an email address under legal hold. A commit that erases data of the person checks that there is none.
select kv.add_family('heldperson');
select kv.add_entity('held-person', 'heldperson', 2, owner_rule => 'platform');
select kv.add_index('held-person', 'name text');

-- legal-hold: A duty to keep the data of a tenant or of a person, until it is released.
select kv.add_family('legalhold');
select kv.add_entity('legal-hold', 'legalhold', 1, owner_rule => 'platform');
select kv.add_index('legal-hold', fields) from unnest(array[
  'createdAt time', 'status text, createdAt time', 'releasedAt time', 'userId text', 'placedBy text', 'releasedBy text', 'email text'
]) fields;

-- api-key: A credential of a program: of the platform, or of one tenant. Its secret is not stored.
select kv.add_family('apikey');
select kv.add_entity('api-key', 'apikey', 1, owner_rule => 'given');
select kv.add_index('api-key', fields) from unnest(array[
  'createdAt time', 'owner, createdAt time', 'name text', 'unusedSince time', 'nextCheckAt time', 'endsAt time', 'createdBy text',
  'search(name, description, prefix)'
]) fields;

-- api-key-hash: Finds an API key by the HMAC of its secret, and has what authentication needs of it. Each change of the key writes it too.
select kv.add_family('apikeyhash');
select kv.add_entity('api-key-hash', 'apikeyhash', 1, owner_rule => 'given');
select kv.add_index('api-key-hash', 'endsAt time');

-- delivery: One event for one webhook, and the attempts to send it. Its body is made from the event.
select kv.add_family('delivery');
select kv.add_entity('delivery', 'delivery', 5, owner_rule => 'given');
select kv.add_index('delivery', fields) from unnest(array[
  'webhookId text, timestamp time', 'webhookId text, status text, timestamp time', 'webhookId text, event text, timestamp time',
  'webhookId text, nextRetryAt time', 'createdAt time'
]) fields;

-- webhook: An endpoint of the platform or of a tenant to which events are sent, signed as Standard Webhooks describe.
select kv.add_family('webhook');
select kv.add_entity('webhook', 'webhook', 1, owner_rule => 'given');
select kv.add_index('webhook', fields) from unnest(array[
  'createdAt time', 'owner, createdAt time', 'tenantId text, status text', 'dueAt time', 'owner, dueAt time', 'nextCheckAt time',
  'search(url, description)'
]) fields;

-- webhook-count: The number of webhooks of a tenant, or of the platform. Creations and deletions change it, so it bounds concurrent ones.
select kv.add_family('webhookcount');
select kv.add_entity('webhook-count', 'webhookcount', 1, owner_rule => 'given');

-- webhook-replay: A request to send the events since an instant again, which the job works off in steps.
select kv.add_family('webhookreplay');
select kv.add_entity('webhook-replay', 'webhookreplay', 2, owner_rule => 'given');
select kv.add_index('webhook-replay', fields) from unnest(array[
  'webhookId text, createdAt time', 'dueAt time', 'createdAt time', 'requestedBy text'
]) fields;

-- root-key: A root key that encrypted fields, or did so. It contains nothing of the key but its id.
select kv.add_family('rootkey');
select kv.add_entity('root-key', 'rootkey', 1, owner_rule => 'platform');

-- integration: A tenant's connection to a provider, such as Stripe. Its credentials are encrypted, and no response shows them.
select kv.add_family('integration');
select kv.add_entity('integration', 'integration', 2, owner_rule => 'segment');
select kv.add_index('integration', fields) from unnest(array[
  'owner, provider text', 'nextCheckAt time'
]) fields;

-- connector-event: One call of an integration: what was called, by whom, with which outcome, and how long it took.
select kv.add_family('connector');
select kv.add_entity('connector-event', 'connector', 5, owner_rule => 'segment');
select kv.add_index('connector-event', fields) from unnest(array[
  'owner, timestamp time', 'timestamp time', 'userId text'
]) fields;

-- dead-letter: An item of a job that failed. It is retried with backoff; after 8 failed attempts it is dead.
select kv.add_family('dead');
select kv.add_entity('dead-letter', 'dead', 1, owner_rule => 'platform');
select kv.add_index('dead-letter', fields) from unnest(array[
  'status text, createdAt time', 'createdAt time'
]) fields;

-- schedule: When a job runs next, the lease of the run in progress, and the result of the last run.
select kv.add_family('schedule');
select kv.add_entity('schedule', 'schedule', 1, owner_rule => 'platform');
select kv.add_index('schedule', 'dueAt time');

-- flag: A feature flag: who gets a feature, or which variant of it.
select kv.add_family('flag');
select kv.add_entity('flag', 'flag', 1, owner_rule => 'platform', tenant_readable => true);
select kv.add_index('flag', fields, colons => 1) from unnest(array[
  'key text', 'name text', 'created time', 'updated time', 'createdBy text', 'search(key, name, description)'
]) fields;

-- flag-key-claim: The flag that holds or held a key. It outlives its flag, so that no other flag takes the key by accident.
select kv.add_family('flagkey');
select kv.add_entity('flag-key-claim', 'flagkey', 1, owner_rule => 'platform');

-- flag-override: What one tenant gets of a feature flag, whatever its rules say.
select kv.add_entity('flag-override', 'flag', 2, owner_rule => 'segment');
select kv.add_index('flag-override', fields, colons => 2) from unnest(array[
  'flagId text, createdAt time', 'expiresAt time'
]) fields;

-- flag-set: The revision of all flags. Every change of a flag counts it up, and processes that cache the flags compare its version.
select kv.add_family('flagset');
select kv.add_entity('flag-set', 'flagset', 1, owner_rule => 'platform', tenant_readable => true);

-- flag-evaluation: When a flag was last evaluated. It is created and deleted with the flag.
select kv.add_family('flageval');
select kv.add_entity('flag-evaluation', 'flageval', 1, owner_rule => 'platform');

-- event-head: The number of the last event. The commit that numbers events checks and changes it.
select kv.add_family('eventhead', 75);
select kv.add_entity('event-head', 'eventhead', 1, owner_rule => 'platform', tenant_readable => true);

-- file-chunk: A part of a stored file.
select kv.add_family('filechunk');
select kv.add_entity('file-chunk', 'filechunk', 3, owner_rule => 'segment');
select kv.add_entity('file-chunk', 'filechunk', 2, owner_rule => 'platform');

-- stored-file: A file that a job writes in steps and that signed links download until it expires.
select kv.add_family('file');
select kv.add_entity('stored-file', 'file', 2, owner_rule => 'segment');
select kv.add_entity('stored-file', 'file', 1, owner_rule => 'platform');

-- erasure: The erasure of a person, and which webhooks have acknowledged it. It names the person by pseudonyms only.
select kv.add_family('erasure');
select kv.add_entity('erasure', 'erasure', 1, owner_rule => 'platform');
select kv.add_index('erasure', fields) from unnest(array[
  'createdAt time', 'status text, createdAt time', 'checkAt time', 'userId text', 'requestedBy text'
]) fields;

-- outbox-event: An outgoing event, committed with the change it reports.
select kv.add_family('outbox');
select kv.add_entity('outbox-event', 'outbox', 1, owner_rule => 'given', cascades => false);
select kv.add_index('outbox-event', fields) from unnest(array[
  'createdAt time', 'owner, createdAt time', 'queuedAt time', 'owner, queuedAt time', 'seq number', 'owner, seq number'
]) fields;

-- idempotency-record: The result of a call with an idempotency key, kept for 24 hours and committed with the change.
select kv.add_family('idem');
select kv.add_entity('idempotency-record', 'idem', 2, owner_rule => 'given');

-- rate-limit-bucket: The tokens that a caller has left. Its key is a digest of the caller. It expires when it must be full again.
select kv.add_family('ratelimit', 75);
select kv.add_entity('rate-limit-bucket', 'ratelimit', 1, owner_rule => 'platform');

select kv.attach_families();

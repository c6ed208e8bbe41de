import type { Services } from "../../shared/container.ts";

type NewFlag = Parameters<Services["FeatureFlagService"]["create"]>[0];

/** One flag of each kind: for a plan, in a rollout, in beta, with weighted variants, by rule, for servers only, and switched off. */
const FLAGS: readonly NewFlag[] = [
  {
    key: "channel-manager",
    name: "Channel manager",
    description: "Rooms are sold through other channels too.",
    scope: "plan",
    status: "enabled",
    enabledForPlans: ["Pro", "Enterprise"],
  },
  {
    key: "late-checkout",
    name: "Late checkout",
    description: "Guests can book a later checkout.",
    status: "enabled",
    rolloutPercentage: 50,
  },
  { key: "group-bookings", name: "Group bookings", description: "Several rooms in one booking.", status: "beta" },
  {
    key: "booking-button",
    name: "Booking button",
    description: "The text of the button that books a room.",
    status: "enabled",
    type: "string",
    variants: { book: "Book", reserve: "Reserve now", none: "Contact us" },
    onVariant: "book",
    offVariant: "none",
    weights: { book: 50, reserve: 50 },
  },
  {
    key: "local-payments",
    name: "Local means of payment",
    description: "Means of payment by region.",
    status: "enabled",
    type: "json",
    variants: {
      card: { methods: ["card"] },
      europe: { methods: ["card", "sepa_debit", "ideal"] },
      japan: { methods: ["card", "konbini"] },
    },
    onVariant: "card",
    offVariant: "card",
    rules: [
      { id: "europe", when: [{ attribute: "region", operator: "startsWith", values: ["eu-"] }], variant: "europe" },
      { id: "japan", when: [{ attribute: "region", operator: "in", values: ["ap-northeast-1"] }], variant: "japan" },
    ],
  },
  {
    key: "rate-cache-seconds",
    name: "Seconds for which room rates are cached",
    status: "enabled",
    type: "number",
    variants: { short: 60, none: 0 },
    onVariant: "short",
    offVariant: "none",
    serverOnly: true,
  },
  { key: "old-calendar", name: "The old calendar", description: "Replaced in spring.", status: "disabled" },
];

/** Creates the flags that are missing, and opts a tenant in to the beta. */
export async function seedFlags({ FeatureFlagService }: Services, betaTenantId: string): Promise<void> {
  for (const flag of FLAGS) {
    const { data: [found] } = await FeatureFlagService.list({ key: flag.key });
    const { id } = found ?? await FeatureFlagService.create(flag);
    if (flag.status === "beta") await FeatureFlagService.setOverride(id, betaTenantId, { enabled: true, reason: "Asked for early access" });
  }
}

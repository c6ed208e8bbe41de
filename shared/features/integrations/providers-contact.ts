import { z } from "zod";
import { basic, bearer, logMessages, oauth, type Provider, provider, token } from "./provider.ts";

const salesforce = provider({
  id: "salesforce",
  name: "Salesforce",
  type: "crm",
  docs: "https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/intro_oauth_and_connected_apps.htm",
  config: z.strictObject({
    // The access token is sent to this host.
    host: z.string().max(253).regex(
      /^([a-z0-9-]+\.)+salesforce\.com$/,
      "must be a host of salesforce.com, such as aurora.my.salesforce.com",
    ),
  }),
  credentials: oauth,
  test: ({ host }, { accessToken }) => ({
    method: "GET",
    url: `https://${host}/services/data/v60.0/limits`,
    headers: bearer(accessToken),
  }),
});

const hubspot = provider({
  id: "hubspot",
  name: "HubSpot",
  type: "crm",
  docs: "https://developers.hubspot.com/docs/guides/apps/private-apps/overview",
  config: z.strictObject({}),
  credentials: z.strictObject({ accessToken: token.meta({ description: "The token of a private app." }) }),
  test: (_, { accessToken }) => ({
    method: "GET",
    url: "https://api.hubapi.com/account-info/v3/details",
    headers: bearer(accessToken),
  }),
});

const googleAnalytics = provider({
  id: "google_analytics",
  name: "Google Analytics",
  type: "analytics",
  docs: "https://developers.google.com/analytics/devguides/reporting/data/v1/quickstart",
  config: z.strictObject({
    propertyId: z.string().regex(/^\d{1,20}$/, "must be 1-20 digits").meta({ description: "The id of the property." }),
  }),
  credentials: oauth,
  test: ({ propertyId }, { accessToken }) => ({
    method: "GET",
    url: `https://analyticsdata.googleapis.com/v1beta/properties/${propertyId}/metadata`,
    headers: bearer(accessToken),
  }),
});

const sendgrid = provider({
  id: "sendgrid",
  name: "SendGrid",
  type: "email",
  docs: "https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys",
  config: z.strictObject({ region: z.enum(["global", "eu"]).default("global"), fromEmail: z.email().max(254).optional(), logMessages }),
  credentials: z.strictObject({ apiKey: token }),
  test: ({ region }, { apiKey }) => ({
    method: "GET",
    url: `https://api.${region === "eu" ? "eu." : ""}sendgrid.com/v3/scopes`,
    headers: bearer(apiKey),
  }),
});

const gmail = provider({
  id: "gmail",
  name: "Gmail",
  type: "email",
  docs: "https://developers.google.com/workspace/gmail/api/auth/web-server",
  config: z.strictObject({ fromEmail: z.email().max(254).optional(), logMessages }),
  credentials: oauth,
  test: (_, { accessToken }) => ({
    method: "GET",
    url: "https://gmail.googleapis.com/gmail/v1/users/me/profile",
    headers: bearer(accessToken),
  }),
});

const twilio = provider({
  id: "twilio",
  name: "Twilio",
  type: "sms",
  docs: "https://www.twilio.com/docs/iam/api-keys",
  config: z.strictObject({
    accountSid: z.string().regex(/^AC[0-9a-f]{32}$/, "must be AC and 32 hexadecimal digits"),
    fromNumber: z.string().regex(/^\+[1-9]\d{6,14}$/, "must be a phone number in E.164 form, such as +15005550006").optional(),
    logMessages,
  }),
  credentials: z.strictObject({ authToken: token }),
  test: ({ accountSid }, { authToken }) => ({
    method: "GET",
    url: `https://api.twilio.com/2010-04-01/Accounts/${accountSid}.json`,
    headers: basic(accountSid, authToken),
  }),
});

const slack = provider({
  id: "slack",
  name: "Slack",
  type: "messaging",
  docs: "https://docs.slack.dev/authentication/tokens",
  config: z.strictObject({ channel: z.string().min(1).max(100).optional().meta({ description: "The default channel." }), logMessages }),
  credentials: z.strictObject({
    botToken: token.regex(/^xox[abep]/, "must be a token of Slack, which begins with xox").meta({ description: "A bot or user token." }),
    signingSecret: token.optional().meta({ description: "Verifies the provider's requests." }),
  }),
  test: (_, { botToken }) => ({
    method: "POST",
    url: "https://slack.com/api/auth.test",
    headers: { ...bearer(botToken), "content-type": "application/x-www-form-urlencoded" },
    body: "",
  }),
  // Slack's status is 200 for refusals too.
  signs: [
    {
      body: /"error":\s*"(token_revoked|account_inactive|user_removed_from_team|team_access_not_granted)"/,
      outcome: "invalid_credentials",
      revoked: true,
    },
    { body: /"error":\s*"(invalid_auth|not_authed|token_expired)"/, outcome: "invalid_credentials" },
    {
      body: /"error":\s*"(missing_scope|no_permission|access_denied|not_allowed_token_type|ekm_access_denied|org_login_required)"/,
      outcome: "forbidden",
    },
    { body: /"error":\s*"ratelimited"/, outcome: "rate_limited" },
    { body: /"ok":\s*false/, outcome: "unexpected" },
  ],
});

export const CONTACT: readonly Provider[] = [salesforce, hubspot, googleAnalytics, sendgrid, gmail, twilio, slack];

/** Compares the protocol that an installed OpenClaw publishes with what the runtime uses of it. */
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { Option } from "effect"
import type { InstalledOpenClaw } from "../../local/openclaw/install.ts"
import { connectParams, PROTOCOL } from "../../src/layers/gateway/GatewaySocket.ts"

/** How a release differs from the protocol as the runtime knows it, each difference in one line. */
export interface ProtocolChanges {
  /** A field or a message that the runtime uses is gone, or has changed. */
  readonly broken: ReadonlyArray<string>
  /** Other differences in the same objects. */
  readonly other: ReadonlyArray<string>
}

/** What the module of the protocol exports: schemas, validators and version numbers. */
export type ProtocolModule = Readonly<Record<string, unknown>>

interface ObjectSchema {
  readonly type?: string
  readonly required?: ReadonlyArray<string>
  readonly properties?: Readonly<Record<string, ObjectSchema>>
}

/**
 * The objects that the runtime reads. `used` lists the fields in use with their types; `!` marks those that must always
 * be there. `known` lists their other fields.
 */
const objects: Readonly<Record<string, { readonly used: string; readonly known: string }>> = {
  EventFrame: {
    used: "type:string! event:string! payload:any",
    known: "seq stateVersion recipientProfileId"
  },
  ResponseFrame: { used: "type:string! id:string! ok:boolean! payload:any error:object", known: "" },
  ErrorShape: { used: "code:string! message:string! retryable:boolean", known: "details retryAfterMs" },
  HelloOk: {
    used: "server:object! features:object! auth:object! policy:object!",
    known:
      "type protocol snapshot controlUiUrl controlUiTabs controlUiWidgetKinds controlUiLinkReaders pluginSurfaceUrls"
  },
  "HelloOk.server": { used: "version:string!", known: "buildId bootId controlUiBuildSource connId" },
  "HelloOk.features": { used: "methods:array! events:array!", known: "capabilities" },
  "HelloOk.auth": {
    used: "scopes:array!",
    known: "method deviceToken recoveryMigrationAllowed recoveryScope role issuedAtMs deviceTokens"
  },
  "HelloOk.policy": {
    used: "tickIntervalMs:integer!",
    known: "maxPayload maxBufferedBytes attachments allowedSessionVisibilities hasMultipleSessionSharingIdentities"
  },
  AgentEvent: { used: "runId:string! stream:string! data:object!", known: "seq ts spawnedBy isHeartbeat" }
}

const subscription = { key: "agent:alpha:account" }

/** What the runtime sends, by the name of its validator. */
const sent: Readonly<Record<string, object>> = {
  RequestFrame: { type: "req", id: "1", method: "connect", params: {} },
  ConnectParams: connectParams("1.0.0", Option.none()),
  SessionsMessagesSubscribeParams: subscription,
  SessionsMessagesUnsubscribeParams: subscription
}

const words = (text: string): ReadonlyArray<string> => text.split(" ").filter((word) => word !== "")

const schemaAt = (protocol: ProtocolModule, path: string): ObjectSchema | undefined => {
  const [name, ...fields] = path.split(".")
  const schema = protocol[`${name}Schema`] as ObjectSchema | undefined
  return fields.reduce((inner, field) => inner?.properties?.[field], schema)
}

const compareObject = (protocol: ProtocolModule, path: string): ProtocolChanges => {
  const schema = schemaAt(protocol, path)
  if (schema?.properties === undefined) return { broken: [`${path} is gone`], other: [] }
  const { properties, required = [] } = schema
  const { known, used } = objects[path]!
  const broken: Array<string> = []
  const names = new Set(words(known))
  const gone = [...names].filter((name) => !(name in properties))
  for (const [, name = "", type, must] of used.matchAll(/(\w+):(\w+)(!?)/g)) {
    names.add(name)
    const field = properties[name]
    if (field === undefined) broken.push(`${path}.${name} is gone`)
    else if ((field.type ?? "any") !== type) broken.push(`${path}.${name} is ${field.type ?? "any"} instead of ${type}`)
    else if (must === "!" && !required.includes(name)) broken.push(`${path}.${name} is not always there`)
  }
  const added = Object.keys(properties).filter((name) => !names.has(name))
  return {
    broken,
    other: [...added.map((name) => `${path}.${name} is new`), ...gone.map((name) => `${path}.${name} is gone`)]
  }
}

type Validator = ((value: unknown) => boolean) & { readonly errors?: unknown }

const compareSent = (protocol: ProtocolModule, name: string): ReadonlyArray<string> => {
  const validate = protocol[`validate${name}`] as Validator | undefined
  if (validate === undefined) return [`${name} is gone`]
  return validate(sent[name]) ? [] : [`${name} refuses what the runtime sends: ${JSON.stringify(validate.errors)}`]
}

const compareVersion = ({ MIN_CLIENT_PROTOCOL_VERSION: least, PROTOCOL_VERSION: newest }: ProtocolModule) =>
  typeof least === "number" && typeof newest === "number" && least <= PROTOCOL && PROTOCOL <= newest
    ? []
    : [`the gateway accepts the protocol versions ${String(least)} to ${String(newest)} instead of ${PROTOCOL}`]

/** Compares the exports of a release's protocol with what the runtime uses. */
export const compareProtocol = (protocol: ProtocolModule): ProtocolChanges => {
  const read = Object.keys(objects).map((path) => compareObject(protocol, path))
  return {
    broken: [
      ...compareVersion(protocol),
      ...Object.keys(sent).flatMap((name) => compareSent(protocol, name)),
      ...read.flatMap(({ broken }) => broken)
    ],
    other: read.flatMap(({ other }) => other)
  }
}

/** The exports of the protocol in an installed release. */
export const readProtocol = async ({ folder }: InstalledOpenClaw): Promise<ProtocolModule> =>
  (await import(pathToFileURL(join(folder, "dist", "gateway", "protocol", "index.js")).href)) as ProtocolModule

/** Compares the protocol of an installed release with what the runtime uses. Rejects if it publishes none. */
export const protocolChanges = async (installed: InstalledOpenClaw): Promise<ProtocolChanges> =>
  compareProtocol(await readProtocol(installed))

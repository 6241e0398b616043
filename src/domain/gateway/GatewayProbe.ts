/** The answers of the gateway's GET endpoints. */
import { Option, Schema } from "effect"

const decodeReady = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({
      ready: Schema.Boolean,
      failing: Schema.optionalKey(Schema.Array(Schema.String)),
      uptimeMs: Schema.optionalKey(Schema.Finite)
    })
  )
)
const decodeStartup = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ version: Schema.String })))
const decodeModels = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({ object: Schema.Literal("list"), data: Schema.Array(Schema.Struct({ id: Schema.String })) })
  )
)

/** The answer to GET /readyz: whether the gateway accepts turns, otherwise what is failing. */
export interface GatewayReadiness {
  readonly isReady: boolean
  readonly failing: ReadonlyArray<string>
  /** Time since its start; undefined if it does not report it. */
  readonly uptimeMillis: number | undefined
}

/** Reads the answer to GET /readyz by its JSON field, not by its status; none if another server sent it. */
export const readReadiness = (body: string): Option.Option<GatewayReadiness> =>
  Option.map(decodeReady(body), ({ failing = [], ready, uptimeMs }) => ({
    isReady: ready,
    failing,
    uptimeMillis: uptimeMs
  }))

/** The version in the answer to GET /startupz; null if it has none. */
export const readStartupVersion = (body: string): string | null =>
  Option.getOrNull(Option.map(decodeStartup(body), ({ version }) => version))

const MODEL_PREFIX = "openclaw/"

/** The slugs of the agents in the answer to GET /v1/models; none if it is not a list of models. */
export const readAgentSlugs = (body: string): Option.Option<ReadonlyArray<string>> =>
  Option.map(decodeModels(body), ({ data }) =>
    data.flatMap(({ id }) => {
      const slug = id.startsWith(MODEL_PREFIX) ? id.slice(MODEL_PREFIX.length) : ""
      return slug === "" || slug === "default" ? [] : [slug]
    })
  )

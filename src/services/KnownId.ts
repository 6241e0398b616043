import { Effect, Result } from "effect"
import { ControlPlaneRefused } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { wholeId } from "../domain/text/ShortId.ts"
import type { Kind } from "../domain/text/ShortId.ts"

/**
 * The whole id of the only one of the listed elements whose id is the text or begins with it. Fails with `not_found`
 * and the candidates; `path` is the function that listed them.
 */
export const knownId = <A extends { readonly id: string }>(
  path: string,
  listed: ReadonlyArray<A>,
  text: string,
  kind: Kind<A>
): Effect.Effect<string, ControlPlaneRefused> =>
  Effect.fromResult(
    Result.mapError(
      wholeId(listed, text, kind),
      (detail) => new ControlPlaneRefused({ function: path, code: "not_found", detail })
    )
  )

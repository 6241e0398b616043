/** Webhooks from a real process: commands for people, the documented receiver, and a control plane that is killed. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Webhook } from "standardwebhooks"
import { makeAccount } from "../../local/account.ts"
import { freePort, launchPlane } from "../../local/launcher.ts"
import { personAt } from "../../local/person.ts"
import { blocksIn } from "../documentCommands.ts"
import { restartable } from "./restartable.ts"
import { outputIn, runIn } from "./runIn.ts"
import { eventually } from "./setup.ts"

const local = { ALLOW_LOCAL_WEBHOOKS: "true" }
const identity = JSON.stringify({ issuer: "https://login.example.com", subject: "kim", name: "Kim" })

/** The receiver that docs/webhooks.md shows, and its output. */
const documentedReceiver = Effect.fnUntraced(function* (secret: string, port: number) {
  const [example] = blocksIn("docs/webhooks.md").filter(({ kind }) => kind === "ts")
  let said = ""
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", example?.text ?? ""], {
        cwd: resolve(import.meta.dirname, "../.."),
        env: { PATH: process.env["PATH"] ?? "", WEBHOOK_SECRET: secret, PORT: String(port) },
        stdio: ["ignore", "pipe", "inherit"]
      })
      child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")))
      return child
    }),
    (child) => Effect.sync(() => void child.kill("SIGKILL"))
  )
  const unsigned = Effect.promise(() =>
    fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "{}" }).then(
      ({ status }) => status,
      () => null
    )
  )
  yield* eventually(unsigned, (status) => status === 401)
  return { said: Effect.sync(() => said) }
})

interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A receiver that answers with these statuses, then with 204. `null` never answers. */
const receiver = (...statuses: Array<number | null>) =>
  Effect.gen(function* () {
    const received: Array<Received> = []
    const server = yield* Effect.acquireRelease(
      Effect.promise(
        () =>
          new Promise<ReturnType<typeof createServer>>((done) => {
            const made = createServer(async (request, response) => {
              const body = Buffer.concat(await request.toArray()).toString("utf8")
              received.push({ headers: request.headers, body })
              const status = statuses.length === 0 ? 204 : statuses.shift()!
              if (status !== null) response.writeHead(status, { location: "/elsewhere" }).end()
            }).listen(0, "127.0.0.1", () => done(made))
          })
      ),
      (made) =>
        Effect.sync(() => {
          made.close()
          made.closeAllConnections()
        })
    )
    const { port } = server.address() as AddressInfo
    return { url: `http://127.0.0.1:${port}/hook`, received: Effect.succeed(received) }
  })

describe("webhooks", () => {
  it.live(
    "are added, tested and resent by commands, and the documented receiver verifies them",
    () =>
      Effect.gen(function* () {
        const plane = yield* launchPlane({ env: local })
        const env = { CONVEX_URL: plane.url, CONVEX_DEPLOY_KEY: plane.adminKey, MISSION_CONTROL_IDENTITY: identity }
        const ask = outputIn(env)
        yield* ask("accounts", "create", "Newcomers")
        const refused = yield* runIn(env, "webhooks", "add", "https://10.0.0.1/hook")
        assert.deepInclude(refused, { code: 1, out: "" })
        assert.include(refused.err, "The URL's host is an IP address. Use a public host name. (invalid)")
        const port = yield* freePort
        const secret = yield* ask("webhooks", "add", `http://127.0.0.1:${port}/`, "--type", "question.asked")
        const { said } = yield* documentedReceiver(secret, port)
        const listed = yield* ask("webhooks", "list")
        assert.match(listed, /enabled +question\.asked +http:\/\/127\.0\.0\.1:/)
        assert.notInclude(listed, secret)
        const webhook = listed.split("\n")[1]?.split(" ")[0] ?? ""
        yield* ask("webhooks", "test", webhook)
        yield* eventually(said, (text) => text.includes("webhook.test msg_"))
        const history = () => ask("webhooks", "history", webhook)
        const delivered = yield* eventually(Effect.suspend(history), (text) =>
          /webhook\.test +delivered +1 +204/.test(text)
        )
        const delivery = delivered.split("\n")[1]?.split(" ")[0] ?? ""
        yield* ask("webhooks", "resend", delivery)
        const all = yield* eventually(said, (text) => text.split("webhook.test msg_").length === 3)
        assert.lengthOf(new Set(all.match(/msg_\w+/g)), 1)
        const unknown = yield* runIn(env, "webhooks", "resend", "nothing")
        assert.strictEqual(unknown.code, 1)
        assert.match(unknown.err, /^No delivery's id begins with "nothing"\. There are .* \(not_found\)\n$/)
        yield* ask("webhooks", "remove", webhook)
        assert.strictEqual(yield* ask("webhooks", "list"), "")
      }).pipe(Effect.scoped),
    300_000
  )

  it.live(
    "are retried after a 500, and after the control plane was killed while it sent",
    () =>
      Effect.gen(function* () {
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "mission-control-webhooks-"))),
          (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
        )
        const data = join(folder, "plane.db")
        const port = yield* freePort
        const args = ["--port", String(port), "--data", data, "--admin-key", "key"]
        const plane = yield* restartable(launchPlane({ args, env: local }))
        const person = personAt(`http://127.0.0.1:${port}`, "key")
        const { accountId } = yield* Effect.promise(() => makeAccount(person))
        const { received, url } = yield* receiver(500, 204, null)
        const { id, secret } = yield* Effect.promise(() => person.mutation("app/webhooks:add", { accountId, url }))
        const test = Effect.promise(() => person.mutation("app/webhooks:test", { accountId, id }))
        const verified = ({ body, headers }: Received) => {
          assert.deepInclude(new Webhook(secret).verify(body, headers as Record<string, string>), {
            type: "webhook.test"
          })
          return headers["webhook-id"]
        }
        const latest = Effect.promise(() => person.query("app/webhooks:history", { accountId, id, limit: 1 })).pipe(
          Effect.map(([delivery]) => delivery)
        )

        yield* test
        // While the retry waits.
        yield* eventually(latest, ({ state, status }) => state === "pending" && status === 500)
        yield* plane.killAndRestart
        yield* eventually(latest, ({ attempts, state }) => state === "delivered" && attempts === 2)

        yield* test
        // While the request is open: the action that sends it is lost.
        yield* eventually(received, ({ length }) => length === 3)
        yield* plane.kill
        const database = new DatabaseSync(data)
        const isDue = database.prepare(
          `UPDATE documents SET json = json_set(json, '$.scheduledTime', 0)
           WHERE json ->> '$.name' = 'scheduled/webhooks:lapse' AND json ->> '$.state.kind' = 'pending'`
        )
        assert.strictEqual(isDue.run().changes, 1, "one attempt is watched; its two minutes pass at once")
        database.close()
        yield* plane.start
        yield* eventually(latest, ({ attempts, state }) => state === "delivered" && attempts === 2)

        const ids = (yield* received).map(verified)
        assert.lengthOf(ids, 4)
        assert.deepStrictEqual([ids[0], ids[2]], [ids[1], ids[3]])
        assert.notStrictEqual(ids[0], ids[2])
      }).pipe(Effect.scoped),
    300_000
  )
})

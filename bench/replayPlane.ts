#!/usr/bin/env node
/**
 * A plane that is never the bottleneck, as a process: `node bench/replayPlane.ts URL` forwards everything to the plane
 * at URL until the first delivery was claimed and completed. From then on it answers calls of these functions itself, a
 * millisecond later: each claim gets as many runs as it asks for, all copies of that delivery with other ids. GET
 * /__completed counts them. It prints one JSON line on stdout when it listens, and exits when stdin ends.
 */
import { createServer } from "node:http"
import type { IncomingMessage } from "node:http"
import { connect } from "node:net"
import type { AddressInfo } from "node:net"
import { setTimeout } from "node:timers/promises"
import { answerOf, itemOf } from "./replay.ts"
import type { Recorded } from "./replay.ts"

const [url] = process.argv.slice(2)
if (url === undefined) {
  process.stderr.write("usage: node bench/replayPlane.ts URL\n")
  process.exit(64)
}
const upstream = new URL(url)
const ANSWER_MILLIS = 1

const recorded: { -readonly [Key in keyof Recorded]?: Recorded[Key] } = {}
let completed = 0
let made = 0

const bodyOf = async (message: IncomingMessage): Promise<string> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString("utf8")
}

/** Calls the plane itself, and keeps its answer if it is the first of its kind. */
const passOn = async (path: string, question: string, kind: keyof Recorded | undefined): Promise<string> => {
  const response = await fetch(new URL(path, upstream), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: question
  })
  const answer = await response.text()
  if (kind !== undefined && recorded[kind] === undefined && (kind !== "claim" || itemOf(answer) !== null)) {
    recorded[kind] = answer
  }
  return answer
}

const isWhole = (): boolean => recorded.claim !== undefined && recorded.complete !== undefined

const answered = async (path: string, request: IncomingMessage): Promise<string> => {
  if (path === "/__completed") return JSON.stringify({ completed })
  const question = await bodyOf(request)
  const kind = /"path":"[^"]*:(claim|context|complete)"/.exec(question)?.[1] as keyof Recorded | undefined
  const template = kind === undefined || !isWhole() ? undefined : recorded[kind]
  if (kind === undefined || template === undefined) return await passOn(path, question, kind)
  const answer = answerOf(kind, template, question, () => made++)
  if (kind === "complete") completed += 1
  await setTimeout(ANSWER_MILLIS)
  return answer
}

const server = createServer((request, response) => {
  answered(request.url ?? "/", request).then(
    (text) => response.writeHead(200, { "content-type": "application/json" }).end(text),
    () => request.socket.destroy()
  )
})
server.on("upgrade", (request, near, head) => {
  const far = connect(Number(upstream.port), upstream.hostname, () => {
    const headers = request.rawHeaders.flatMap((name, index, all) =>
      index % 2 === 0 ? [`${name}: ${all[index + 1]}`] : []
    )
    far.write(`${request.method} ${request.url} HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`)
    far.write(head)
    near.pipe(far)
    far.pipe(near)
  })
  near.on("error", () => far.destroy()).on("close", () => far.destroy())
  far.on("error", () => near.destroy()).on("close", () => near.destroy())
})
server.listen(0, "127.0.0.1", () => {
  const port = (server.address() as AddressInfo).port
  process.stdout.write(`${JSON.stringify({ ready: true, name: "replay", url: `http://127.0.0.1:${port}` })}\n`)
})
process.stdin.on("end", () => process.exit(0)).resume()

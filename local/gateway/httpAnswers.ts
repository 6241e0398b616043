import type { IncomingMessage, ServerResponse } from "node:http"

const maxBodyBytes = 20 * 1024 * 1024

export const json = (response: ServerResponse, status: number, body: unknown): void => {
  const text = JSON.stringify(body)
  response
    .writeHead(status, { "Content-Type": "application/json; charset=utf-8", "Content-Length": Buffer.byteLength(text) })
    .end(text)
}

export const plain = (response: ServerResponse, status: number, text: string): void => {
  response
    .writeHead(status, { "Content-Type": "text/plain; charset=utf-8", "Content-Length": Buffer.byteLength(text) })
    .end(text)
}

/** Answers 405 and returns false unless the request's method is one of `allowed`. */
export const isMethodAllowed = (
  request: IncomingMessage,
  response: ServerResponse,
  allowed: ReadonlyArray<string>
): boolean => {
  if (allowed.includes(request.method ?? "")) return true
  response.setHeader("Allow", allowed.join(", "))
  plain(response, 405, "Method Not Allowed")
  return false
}

export const unauthorized = { error: { message: "Unauthorized", type: "unauthorized" } }

export const refusal = (message: string) => ({ error: { message, type: "invalid_request_error" } })

export const unavailable = (response: ServerResponse): void => {
  response.setHeader("Retry-After", "1")
  json(response, 503, {
    error: {
      message: "Gateway is temporarily unavailable while suspending or restarting",
      type: "service_unavailable",
      code: "gateway_unavailable"
    }
  })
}

/** The request's body as text, or undefined if it is larger than the gateway accepts. */
export const readLimited = async (request: IncomingMessage): Promise<string | undefined> => {
  const chunks: Array<Buffer> = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length
    if (bytes <= maxBodyBytes) chunks.push(chunk as Buffer)
  }
  return bytes > maxBodyBytes ? undefined : Buffer.concat(chunks).toString("utf8")
}

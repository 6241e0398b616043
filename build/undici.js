/**
 * The part of undici in the bundle: the agents, the pool and `request`. The package's index loads everything (a fetch,
 * a WebSocket, mocks, caches), which is half a megabyte of code and three of memory that the runtime never uses.
 */
import api from "undici/lib/api/index.js"
import { parseURL } from "undici/lib/core/util.js"
import Agent from "undici/lib/dispatcher/agent.js"
import Dispatcher from "undici/lib/dispatcher/dispatcher.js"
import EnvHttpProxyAgent from "undici/lib/dispatcher/env-http-proxy-agent.js"
import Pool from "undici/lib/dispatcher/pool.js"

Object.assign(Dispatcher.prototype, api)

/** The index's `request`, for callers with their own dispatcher. */
const request = (url, { dispatcher, ...options }) => {
  const { origin, pathname, search } = parseURL(url)
  return api.request.call(dispatcher, {
    ...options,
    origin,
    path: search ? `${pathname}${search}` : pathname,
    method: options.method ?? (options.body ? "PUT" : "GET")
  })
}

export { Agent, EnvHttpProxyAgent, Pool, request }

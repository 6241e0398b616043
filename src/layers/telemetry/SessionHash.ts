import { hash } from "node:crypto"

/**
 * A session key as logs and traces show it: the same for the same key, and no key, since with AGENT_HTTP_AUTH=session-key
 * that opens an agent's endpoints.
 */
export const sessionHash = (sessionKey: string): string => hash("sha256", sessionKey, "hex").slice(0, 12)

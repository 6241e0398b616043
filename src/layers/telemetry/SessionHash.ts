import { hash } from "node:crypto"

/**
 * Identifies a session in logs and traces without its key, because with AGENT_HTTP_AUTH=session-key the key opens the
 * agent's endpoints.
 */
export const sessionHash = (sessionKey: string): string => hash("sha256", sessionKey, "hex").slice(0, 12)

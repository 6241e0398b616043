import { isAgentSlug } from "../shared/SessionKey.ts"

/** Names that some file systems reserve for devices, in every folder. */
const devices = /^(?:con|prn|aux|nul|com\d|lpt\d)$/

/**
 * Whether the text may name a folder: an agent's slug that is not a device name. Nothing else becomes a part of a path.
 */
export const isWorkspaceSlug = (text: string): boolean => isAgentSlug(text) && !devices.test(text)

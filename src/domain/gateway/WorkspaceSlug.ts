import { isAgentSlug } from "../shared/SessionKey.ts"

/** Names that some file systems keep for devices, whatever their folder. */
const devices = /^(?:con|prn|aux|nul|com\d|lpt\d)$/

/** Whether the text may name a folder: a slug of a-z, 0-9, hyphen and underscore that is no device; nothing else ever becomes a path. */
export const isWorkspaceSlug = (text: string): boolean => isAgentSlug(text) && !devices.test(text)

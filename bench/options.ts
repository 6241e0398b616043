/** How the commands of this folder read their options. */
import { parseArgs } from "node:util"
import type { ParseArgsConfig } from "node:util"

/** Ends the process with exit code 64 and says on standard error what is wrong and how the command is used. */
export const refuse = (command: string, problem: string, usage: string): never => {
  process.stderr.write(`${command}: ${problem}\n${usage}`)
  return process.exit(64)
}

/** What `parseArgs` of Node reads from the command line; an option it does not take is refused. */
export const optionsOf = <T extends ParseArgsConfig>(command: string, usage: string, config: T) => {
  try {
    return parseArgs(config)
  } catch (error) {
    return refuse(command, (error as Error).message, usage)
  }
}

/** The command-line options of the benches. */
import { parseArgs } from "node:util"
import type { ParseArgsConfig } from "node:util"

/** Prints the error and the usage to standard error, and exits with code 64. */
export const refuse = (command: string, problem: string, usage: string): never => {
  process.stderr.write(`${command}: ${problem}\n${usage}`)
  return process.exit(64)
}

/** Node's `parseArgs`; an unknown option is refused. */
export const optionsOf = <T extends ParseArgsConfig>(command: string, usage: string, config: T) => {
  try {
    return parseArgs(config)
  } catch (error) {
    return refuse(command, (error as Error).message, usage)
  }
}

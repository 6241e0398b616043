/**
 * Preloaded (`node --import`) into a child without `--die-with-parent`. Ends the child's process group when the
 * launcher's end of stdin closes, which happens if the launcher is killed. This is JavaScript because the compiler that
 * strips types would add 15 MB of memory to a bundle that has none.
 */
const end = () => {
  try {
    process.kill(-process.pid, "SIGKILL")
  } catch {
    process.kill(process.pid, "SIGKILL")
  }
}

process.stdin.on("end", end).on("close", end).on("error", end)
process.stdin.resume()
if ("unref" in process.stdin) process.stdin.unref()

/**
 * Preloaded (`node --import`) into a child without `--die-with-parent`. Ends the child's process group when the
 * launcher's end of stdin closes, which happens if the launcher is killed. With `?in-order` in its address it sends
 * SIGTERM to the child instead. This is JavaScript because the compiler that
 * strips types would add 15 MB of memory to a bundle that has none.
 */
let isEnding = false
const end = () => {
  if (isEnding) return
  isEnding = true
  if (import.meta.url.endsWith("?in-order")) {
    process.kill(process.pid, "SIGTERM")
    return
  }
  try {
    process.kill(-process.pid, "SIGKILL")
  } catch {
    process.kill(process.pid, "SIGKILL")
  }
}

process.stdin.on("end", end).on("close", end).on("error", end)
process.stdin.resume()
if ("unref" in process.stdin) process.stdin.unref()

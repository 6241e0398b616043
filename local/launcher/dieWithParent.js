/**
 * Preloaded (`node --import`) into a child that knows nothing of its launcher: ends the child's process group when the
 * launcher's end of stdin closes, which is what a killed launcher leaves behind. JavaScript, since the compiler that strips
 * types would add 15 MB to a bundle that has none.
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

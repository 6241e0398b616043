/**
 * Takes the README's screenshot of the status page, from the demonstration, in Chromium. `node local/demo/picture.ts
 * [file]` needs Debian's chromium, or CHROMIUM with the path of another.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { chromium } from "playwright-core"

const file = process.argv[2] ?? fileURLToPath(new URL("../../docs/status-page.png", import.meta.url))
const demo = spawn(process.execPath, [fileURLToPath(new URL("main.ts", import.meta.url))], {
  stdio: ["ignore", "pipe", "inherit"]
})
const ended = once(demo, "exit")
const address = await new Promise<string>((resolve, reject) => {
  demo.once("exit", (code) => reject(new Error(`the demonstration ended with exit code ${code}`)))
  createInterface({ input: demo.stdout }).on("line", (line) => {
    const found = /see it live at (http:\S+\/),/.exec(line)?.[1]
    if (found !== undefined) resolve(found)
  })
})
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
})
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 800 }, colorScheme: "light" })
  await page.goto(address)
  await page.locator("#ended").filter({ hasText: "replied" }).waitFor()
  await page.screenshot({ path: file, fullPage: true })
} finally {
  await browser.close()
  demo.kill("SIGTERM")
  await ended
}

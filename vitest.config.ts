import { join } from "node:path"
import { defineConfig } from "vitest/config"

/** Node keeps compiled code here, so that the many processes that tests start spend half the time on their start. */
process.env["NODE_COMPILE_CACHE"] ??= join(import.meta.dirname, "node_modules/.cache/node")

/**
 * `npm test` runs unit: behaviour and contract. Each other project has a script of its own, and `.ci/run` runs them all.
 */
export default defineConfig({
  test: {
    // Vitest leaves one core free, which is half of a machine with two.
    maxWorkers: "100%",
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: [
            "test/simulation/**",
            "test/**/*.properties.test.ts",
            "test/process/**",
            "test/openclaw/**",
            "test/convex-deployment/**",
            "test/container/**",
            "**/node_modules/**"
          ],
          testTimeout: 30_000,
          // A process for each file would spend more time on start and imports than on tests.
          isolate: false,
          restoreMocks: true,
          unstubEnvs: true,
          unstubGlobals: true,
          // Effect keeps formatters of time zones for the next file. A fake one reads 1970-01-01T00:00Z as now.
          fakeTimers: {
            toFake: [
              "Date",
              "setTimeout",
              "clearTimeout",
              "setInterval",
              "clearInterval",
              "setImmediate",
              "clearImmediate"
            ]
          }
        }
      },
      {
        test: {
          name: "simulation",
          include: ["test/simulation/**/*.test.ts", "test/**/*.properties.test.ts"],
          testTimeout: 60_000
        }
      },
      {
        test: {
          name: "process",
          include: ["test/process/**/*.test.ts"],
          globalSetup: "test/process/bundle.ts",
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false
        }
      },
      {
        test: {
          name: "openclaw",
          include: ["test/openclaw/**/*.test.ts"],
          exclude: ["**/node_modules/**"],
          testTimeout: 120_000,
          hookTimeout: 300_000,
          fileParallelism: false
        }
      },
      {
        test: {
          name: "convex-deployment",
          include: ["test/convex-deployment/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false
        }
      },
      {
        test: {
          name: "container",
          include: ["test/container/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false
        }
      }
    ]
  }
})

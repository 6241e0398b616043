import { cronJobs } from "convex/server"
import { internal } from "./_generated/api.js"

const crons = cronJobs()

crons.interval("delete what ended long ago", { hours: 24 }, internal.scheduled.retention.sweep, {})

export default crons

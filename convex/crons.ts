import { cronJobs } from "convex/server"
import { internal } from "./_generated/api.js"

const crons = cronJobs()

crons.interval("delete old rows", { hours: 24 }, internal.scheduled.retention.sweep, {})

export default crons

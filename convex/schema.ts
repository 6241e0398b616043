import { defineSchema } from "convex/server"
import { missionControl } from "./tables/missionControl.ts"

export default defineSchema(missionControl)

import { charts } from "./script/Charts.ts"
import { connection } from "./script/Connection.ts"
import { lists } from "./script/Lists.ts"
import { nodes } from "./script/Nodes.ts"
import { overview } from "./script/Overview.ts"
import { runView } from "./script/RunView.ts"

/** What the page does in the browser, as one script: follows the events, shows the last state, lets ages grow. */
export const pageScript = [nodes, charts, overview, lists, runView, connection].join("")

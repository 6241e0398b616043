import { z } from "zod"
import type { Release } from "./release.ts"

/**
 * The body of `POST /v1/responses` as OpenClaw 2026.8.2 to 2026.9.6 accepts it. It is strict: an unknown key is
 * refused. Measured on those releases, which check with the same library and answer with its first issue.
 */
const inputText = z.object({ type: z.literal("input_text"), text: z.string() }).strict()
const outputText = z.object({ type: z.literal("output_text"), text: z.string() }).strict()
const source = z.discriminatedUnion("type", [
  z.object({ type: z.literal("url"), url: z.url() }),
  z.object({
    type: z.literal("base64"),
    media_type: z.string().min(1),
    data: z.string().min(1),
    filename: z.string().optional()
  })
])
const inputImage = z.object({ type: z.literal("input_image"), source }).strict()
const inputFile = z.object({ type: z.literal("input_file"), source }).strict()
const itemStatus = z.enum(["in_progress", "completed", "incomplete"])

const message = z
  .object({
    type: z.literal("message"),
    id: z.string().optional(),
    role: z.enum(["system", "developer", "user", "assistant"]),
    content: z.union([
      z.string(),
      z.array(z.discriminatedUnion("type", [inputText, outputText, inputImage, inputFile]))
    ]),
    phase: z.enum(["commentary", "final_answer"]).optional(),
    status: itemStatus.optional()
  })
  .strict()
  .refine((item) => item.phase === undefined || item.role === "assistant", {
    path: ["phase"],
    message: "`phase` is only valid on assistant messages."
  })

const functionCall = z
  .object({
    type: z.literal("function_call"),
    id: z.string().optional(),
    call_id: z.string().optional(),
    name: z.string(),
    arguments: z.string(),
    status: itemStatus.optional()
  })
  .strict()

const functionCallOutput = z
  .object({ type: z.literal("function_call_output"), call_id: z.string(), output: z.string() })
  .strict()

const reasoning = z
  .object({
    type: z.literal("reasoning"),
    content: z.string().optional(),
    encrypted_content: z.string().optional(),
    summary: z.string().optional()
  })
  .strict()

const itemReference = z.object({ type: z.literal("item_reference"), id: z.string() }).strict()

const tool = z
  .object({
    type: z.literal("function"),
    name: z.string().min(1, "Tool name cannot be empty"),
    description: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).optional(),
    strict: z.boolean().optional()
  })
  .strict()

const toolChoice = z.union([
  z.literal("auto"),
  z.literal("none"),
  z.literal("required"),
  z.object({ type: z.literal("function"), name: z.string().min(1) }).strict(),
  z.object({ type: z.literal("function"), function: z.object({ name: z.string().min(1) }) }).strict()
])

const requestBody = z
  .object({
    model: z.string(),
    input: z.union([
      z.string(),
      z.array(z.discriminatedUnion("type", [message, functionCall, functionCallOutput, reasoning, itemReference]))
    ]),
    instructions: z.string().optional(),
    tools: z.array(tool).optional(),
    tool_choice: toolChoice.optional(),
    text: z
      .object({ format: z.object({ type: z.literal("text") }).strict() })
      .strict()
      .optional(),
    stream: z.boolean().optional(),
    max_output_tokens: z.number().int().positive().optional(),
    max_tool_calls: z.number().int().positive().optional(),
    user: z.string().optional(),
    temperature: z.number().min(0).max(2).optional(),
    top_p: z.number().min(0).max(1).optional(),
    metadata: z.record(z.string(), z.string()).optional(),
    store: z.boolean().optional(),
    previous_response_id: z.string().optional(),
    reasoning: z
      .object({
        effort: z.enum(["low", "medium", "high"]).optional(),
        summary: z.enum(["auto", "concise", "detailed"]).optional()
      })
      .optional(),
    truncation: z.enum(["auto", "disabled"]).optional()
  })
  .strict()

export type RequestBody = z.infer<typeof requestBody>
export type InputItem = Exclude<RequestBody["input"], string>[number]
export type ClientTool = z.infer<typeof tool>

/** The checked body, or the message of the gateway's 400. */
export const parseRequestBody = (
  body: unknown,
  release: Release
): { readonly body: RequestBody } | { readonly refused: string } => {
  const parsed = requestBody.safeParse(body)
  if (parsed.success) return { body: parsed.data }
  const issue = parsed.error.issues[0]
  if (issue?.path[0] === "input" && !release.describesItems) return { refused: "input: Invalid input" }
  return { refused: issue === undefined ? "Invalid request body" : `${issue.path.join(".")}: ${issue.message}` }
}

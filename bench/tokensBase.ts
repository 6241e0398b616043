/**
 * The figures of commit f135eba with a session per agent, measured on 2026-11-29 by `npm run bench -- tokens --against
 * <checkout>` with OpenClaw 2026.9.6 and, by BENCH_GATEWAY=scripted, with the scripted gateway. Of 109 turns the real
 * gateway's requests shared 26.7 % with the previous one of their session.
 */
export const base: Readonly<Record<"real" | "scripted", Readonly<Record<string, number>>>> = {
  real: {
    "input per turn": 76_316,
    "input per turn, price-weighted, warm, Anthropic": 71_913,
    "input per turn, price-weighted, warm, OpenAI": 57_939,
    "input per turn, price-weighted, cold, Anthropic": 79_600,
    "input per turn, price-weighted, cold, OpenAI": 63_955,
    // The runtime's text alone, measured with the scripted gateway.
    "own input of a delivery, at 30 messages": 2_803,
    "input of a heartbeat": 137_491
  },
  scripted: {
    "input per turn": 67_325,
    "input per turn, price-weighted, warm, Anthropic": 70_484,
    "input per turn, price-weighted, warm, OpenAI": 56_625,
    "input per turn, price-weighted, cold, Anthropic": 72_773,
    "input per turn, price-weighted, cold, OpenAI": 58_416,
    "own input of a delivery, at 30 messages": 2_803,
    "input of a heartbeat": 131_118
  }
}

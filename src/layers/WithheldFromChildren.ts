/** What programs that we start do not find in their environment: our secrets, and the way to the service manager. */
export const withheldFromChildren: Readonly<Record<string, undefined>> = {
  SERVICE_TOKEN: undefined,
  OPENCLAW_GATEWAY_TOKEN: undefined,
  HONEYCOMB_API_KEY: undefined,
  OTEL_EXPORTER_OTLP_HEADERS: undefined,
  NOTIFY_SOCKET: undefined,
  WATCHDOG_USEC: undefined,
  WATCHDOG_PID: undefined
}

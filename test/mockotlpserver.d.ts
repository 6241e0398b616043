/** The part of the receiver that the tests use; its package has no types. */
declare module "@elastic/mockotlpserver" {
  export class MockOtlpServer {
    constructor(options: {
      readonly logLevel: string
      readonly services: ReadonlyArray<"http" | "grpc" | "ui">
      readonly httpHostname: string
      readonly httpPort: number
      readonly onTrace: (request: unknown) => void
      readonly onLogs: (request: unknown) => void
    })
    readonly httpUrl: string | URL
    start(): Promise<void>
    close(): Promise<void>
  }
}
